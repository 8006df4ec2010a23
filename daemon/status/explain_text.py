"""Formats the output of `fawkesd why` and `fawkesd history`: rows of the ledger as text or JSON."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daemon.text import count, moment, printable
from fawkes_engine import FULL_STRENGTH, STRANGER, unseen

if TYPE_CHECKING:
    from daemon.fs.ignore import Ignored
    from daemon.state.history import Record
    from daemon.status.explain import Explanation


def why_lines(found: Explanation, *, figures: bool = False) -> Iterator[str]:
    """Yield an explanation as lines of text; names and reasons are escaped. figures: also those of each cloak."""
    yield printable(found.source or found.path)
    if found.ignored:
        yield "  " + _ignored(found.ignored, found.ignored_from)
    for record in found.records:
        yield "  " + _generation(record)
    if found.output is not None:
        yield f"  published as {printable(found.output)}"
    report = next((record.report for record in found.records if record.report), None)
    if report:
        yield from _figures(report) if figures else _plainly(report)
    for note in found.notes:
        yield f"  note: {printable(note)}"


def why_json(found: Explanation) -> str:
    """Return an explanation as one JSON object; the top-level keys are those of the newest generation."""
    newest = record_values(found.records[0]) if found.records else {}
    report = newest.get("report")
    values = {
        "path": str(found.path),
        "user": found.user,
        "source": str(found.source) if found.source else None,
        "state": newest.get("state"),
        "reason": newest.get("reason"),
        "when": newest.get("when"),
        "generation": newest.get("generation"),
        "output": str(found.output) if found.output else None,
        "report": report,
        "against_others": unseen.weakest(face["cosine_own"] for face in report["faces"]) if report else None,
        "ignored_by": found.ignored.pattern if found.ignored else None,
        "ignored_from": found.ignored_from,
        "notes": found.notes,
        "generations": [record_values(record) for record in found.records],
    }
    return json.dumps(values, indent=2)


def records_json(records: Sequence[Record]) -> str:
    """Return rows as a JSON list."""
    return json.dumps([record_values(record) for record in records], indent=2)


def history_line(record: Record) -> str:
    """Return a row as one line."""
    return f"{printable(record.photo.source.path)}: {_generation(record)}"


def record_values(record: Record) -> dict[str, Any]:
    """Return a row as JSON values; times are ISO 8601 in UTC."""
    photo = record.photo
    return {
        "user": photo.source.outbox.user,
        "source": str(photo.source.path),
        "generation": photo.generation,
        "state": photo.state.value,
        "reason": photo.reason,
        "when": _utc(record.updated),
        "first_seen": _utc(record.created),
        "next_try": _utc(record.not_before) if record.not_before else None,
        "attempts": photo.attempts,
        "input_sha256": photo.input_sha256,
        "output": str(photo.output.relative) if photo.output else None,
        "output_sha256": photo.output.sha256 if photo.output else None,
        "report": record.report,
    }


def _ignored(found: Ignored, origin: str | None) -> str:
    what = f"the folder {found.place}" if found.is_folder else "its name"
    return f"ignored: {printable(what)} matches {printable(found.pattern)} ({origin})"


def _generation(record: Record) -> str:
    photo = record.photo
    number = f" (version {photo.generation} of this file)" if photo.generation > 1 else ""
    reason = f": {printable(photo.reason)}" if photo.reason else ""
    return f"{photo.state.value} {moment(record.updated)}{number}{reason}"


def _plainly(report: Mapping[str, Any]) -> Iterator[str]:
    for face in report["faces"]:
        yield f"  face of {_person(face['person'])}: {unseen.in_words(face['cosine_own'])}"


def _figures(report: Mapping[str, Any]) -> Iterator[str]:
    faces = report["faces"]
    mode = f"mode {printable(report['mode'])}, " if report.get("mode") else ""  # older reports do not have it
    strength = report.get("strength", FULL_STRENGTH)  # nor this
    mode += f"strength {strength}, " if strength < FULL_STRENGTH else ""
    yield f"  {count(len(faces), 'face')}, {report['seconds']:.1f} s, {mode}engine {printable(report['fingerprint'])}"
    for face in faces:
        moved = f"moved by up to {face['moved']:.1%} of its height, " if "moved" in face else ""  # nor this
        x0, y0, x1, y1 = face["box"]
        yield (
            f"  face of {_person(face['person'])} at ({x0:.0f}, {y0:.0f})-({x1:.0f}, {y1:.0f}), "
            f"{face['height_px']} px high, toward {printable(face['target'])}: "
            f"DSSIM {face['dssim']:.4f} (at 224 px {face['dssim_224']:.4f}), "
            f"colour {face['colour_mean']:.2f} mean {face['colour_p99']:.2f} p99, "
            f"{moved}{face['steps']} steps"
        )
        yield f"    against recognisers that took no part: {unseen.in_words(face['cosine_own'])}"
        for name, own in face["cosine_own"].items():
            target = face["cosine_target"][name]
            yield f"    {printable(name)}: cosine {own:+.2f} to the person, {target:+.2f} to the target"


def _person(name: str) -> str:
    other = "another person, " if name.startswith(STRANGER) else ""
    return other + printable(name)


def _utc(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
