"""What a node returns, as plain strings and bytes: it is read with checks, since a node is not believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from daemon.cluster.snapshots import Proposals
from daemon.workers.protocol import PHOTO_MAX_BYTES, Outcome, Refused
from fawkes_engine import Protected, Refusal, Report, Request

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif"})
_LONGEST_TEXT = 2000
_REPORT = TypeAdapter(Report)

Reply = tuple[str, list[bytes], bytes]  # JSON that tells of each photo, the protected ones' files, proposals


class NonsenseError(ValueError):
    """A node returned something that no engine of this program returns."""


class EngineFailed(Exception):
    """The engine of a node failed. node: its address."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(reason)
        self.node = node


@dataclass(frozen=True, slots=True)
class Returned:
    """What a node made of a task. node: its address. name: for people. outcomes: one per photo, in order."""

    node: str
    name: str
    outcomes: Sequence[Outcome]
    proposals: Proposals


def reply(node: str, name: str, results: Iterable[Outcome | Refusal], proposals: Proposals) -> Reply:
    """Return what a node sends back."""
    told: list[dict[str, object]] = []
    files: list[bytes] = []
    for result in results:
        if isinstance(result, Protected):
            told.append({"sha256": result.sha256, "suffix": result.suffix, "report": asdict(result.report)})
            files.append(result.data)
        elif isinstance(result, Refusal):
            told.append({"kind": type(result).__name__, "reason": str(result)})
        else:
            assert isinstance(result, Refused), "an engine defers nothing"
            told.append({"kind": result.kind, "reason": result.reason})
    return json.dumps({"node": node, "name": name, "photos": told}), files, proposals.to_bytes()


def failure(node: str, reason: str) -> Reply:
    """Return what a node sends back whose engine has failed."""
    return json.dumps({"node": node, "failed": reason}), [], b""


def read(answer: object, requests: Sequence[Request], fingerprint: str) -> Returned:
    """Read a node's answer to these requests. fingerprint: of the engine that it must come from.

    Raises:
        NonsenseError: it is no answer to them. EngineFailed: the node says that its engine failed.
    """
    try:
        text, files, proposals = _parts(answer)
        told = json.loads(text, parse_constant=_refuse)
        node = _text(told["node"])
        if "failed" in told:
            raise EngineFailed(node, _text(told["failed"]))
        left = iter(files)
        outcomes = [
            _outcome(row, request, left, fingerprint)
            for row, request in zip(told["photos"], requests, strict=True)
        ]
        if next(left, None) is not None:
            raise NonsenseError("more files than photos")
        return Returned(node, _text(told["name"]), outcomes, Proposals.from_bytes(proposals))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise NonsenseError(f"a node returned no answer that can be read ({_short(exc)})") from exc


def _parts(answer: object) -> Reply:
    match answer:
        case (str() as text, list() as files, bytes() as proposals) if all(
            type(one) is bytes for one in files
        ):
            return text, files, proposals
    raise NonsenseError("not a string, files and proposals")


def _outcome(row: dict[str, object], request: Request, files: Iterable[bytes], fingerprint: str) -> Outcome:
    if "reason" in row:
        return Refused(_text(row["kind"]), _text(row["reason"]))
    data = next(iter(files), None)
    if data is None:
        raise NonsenseError("a file is missing")
    suffix, sha256, report = (
        _text(row["suffix"]),
        _text(row["sha256"]),
        _REPORT.validate_python(row["report"]),
    )
    if suffix not in _SUFFIXES or len(data) > PHOTO_MAX_BYTES:
        raise NonsenseError("not a file of a photo")
    if sha256 != hashlib.sha256(data).hexdigest():
        raise NonsenseError("a file that is not the one it tells of")
    if report.fingerprint != fingerprint:
        raise NonsenseError(f"made by the engine {report.fingerprint}, not by {fingerprint}")
    if report.strength != request.strength or (request.mode and report.mode != request.mode):
        raise NonsenseError("made in another mode or strength")
    return Protected(data, sha256, suffix, report)


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise NonsenseError("not a text")
    return value


def _short(exc: Exception) -> str:
    return f"{exc.error_count()} faults" if isinstance(exc, ValidationError) else str(exc)[:200]


def _refuse(name: str) -> object:
    raise NonsenseError(f"{name} is no number")
