"""Notifications by Apprise: `fawkesd notify` compares the status with what it last told.

It is a process of its own, started by a timer, since the service has no network and waits for nobody. What leaves the
machine is in `_lines`: numbers and names of users, never a photo, its name or a path.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from daemon.config.settings import Settings
from daemon.errors import ConfigError, NotAnswering, ServiceError
from daemon.fs import atomic
from daemon.fs.private import is_open_to_others
from daemon.model import PauseReason
from daemon.service.desktop import Situation, news
from daemon.state.folder import prepare
from daemon.state.history import PausedFolder
from daemon.status import status
from daemon.text import printable

_EVERY_S = 300.0  # the least time between two messages; what happens meanwhile is in the next one
_RECORD = "notified.json"


@dataclass(frozen=True, slots=True)
class Told:
    """What was told. most_waiting: photos of the present backlog. paused: users. sent_at: seconds since 1970."""

    held: int
    review: int
    most_waiting: int
    paused: tuple[str, ...]
    sent_at: float


def notify(settings: Settings, now: float) -> Sequence[str]:
    """Send what is new since the last call, and return its lines; nothing within five minutes of the last message.

    now: seconds since 1970. Raises ConfigError, ServiceError without Apprise, and NotAnswering if a message was not
    delivered everywhere; if it was nowhere, the next call tries again.
    """
    targets = _urls(settings)
    prepare(settings.state_dir)
    record = settings.state_dir / _RECORD
    before = _read(record)
    found = _situation(settings, before)
    told = before or Told(found.held, found.review, 0, (), 0.0)
    told = replace(told, most_waiting=max(told.most_waiting, found.waiting))
    lines = list(_lines(told, found))
    if lines and abs(now - told.sent_at) < _EVERY_S:
        _write(record, told)
        return []
    failed = send(targets, "\n".join(lines)) if lines else []
    if len(failed) < len(targets):
        _write(
            record,
            Told(
                held=found.held,
                review=found.review,
                most_waiting=told.most_waiting if found.waiting else 0,
                paused=tuple(found.paused),
                sent_at=now if lines else told.sent_at,
            ),
        )
    _refuse(settings, failed)
    return lines


def test(settings: Settings) -> None:
    """Send a message that says nothing. Raises as `notify`."""
    _refuse(settings, send(_urls(settings), "This is a test."))


def send(urls: Sequence[tuple[int, str]], text: str) -> list[int]:
    """Send a message to each URL; return the numbers of those that did not take it. Raises ServiceError."""
    try:
        import apprise
    except ModuleNotFoundError as exc:
        raise ServiceError(
            f"notifications need more packages ({exc.name}): pip install 'fawkesd[notify]'"
        ) from exc
    failed = []
    with _no_logs():
        for number, url in urls:
            one = apprise.Apprise(asset=apprise.AppriseAsset(app_id="fawkesd"))
            if not one.add(url) or not one.notify(title="fawkesd", body=text):
                failed.append(number)
    return failed


def _lines(told: Told, found: Situation) -> Iterator[str]:
    before = Situation(held=told.held, review=told.review, paused=dict.fromkeys(told.paused, ""))
    return news(before, found, told.most_waiting)


def _situation(settings: Settings, told: Told | None) -> Situation:
    found = status.read(settings)
    users = found.users
    if found.running:
        paused = {user.name: "" for user in users if any(map(_is_fault, user.paused))}
    else:  # nobody looks whether what paused them is over
        paused = dict.fromkeys(told.paused if told else (), "")
    return Situation(
        held=sum(len(user.held) for user in users),
        review=sum(user.review for user in users),
        waiting=sum(user.waiting for user in users),
        paused=paused,
    )


def _is_fault(folder: PausedFolder) -> bool:
    return folder.reason != PauseReason.BY_HAND.value


def _urls(settings: Settings) -> list[tuple[int, str]]:
    """Return line number and text of each URL; no message names one, since it may hold a password."""
    file = settings.notify.urls_file
    if file is None:
        raise ConfigError(
            "notify.urls_file is not set: write the URLs of Apprise into a file, and name it there"
        )
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        is_open = is_open_to_others(file)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigError(f"notify.urls_file: {printable(file)} cannot be read ({reason})") from exc
    if is_open:
        raise ConfigError(
            f"others can open {printable(file)}, which may hold passwords; run `chmod 600 '{file}'`"
        )
    found = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    urls = [(number, line) for number, line in found if line and not line.startswith("#")]
    if not urls:
        raise ConfigError(f"notify.urls_file: {printable(file)} holds no URL; write one a line")
    return urls


def _refuse(settings: Settings, failed: Sequence[int]) -> None:
    if failed:
        places = ", ".join(map(str, failed))
        raise NotAnswering(
            f"no message got through to line {places} of {settings.notify.urls_file}: is it a URL that Apprise knows, "
            "and can its server be reached?"
        )


@contextlib.contextmanager
def _no_logs() -> Iterator[None]:
    """Apprise, and what it uses, log parts of URLs."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _read(record: Path) -> Told | None:
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
        return Told(**{**values, "paused": tuple(values["paused"])})
    except (OSError, ValueError, TypeError, KeyError):  # the first call, or of another version
        return None


def _write(record: Path, told: Told) -> None:
    atomic.write(record, json.dumps(asdict(told)).encode(), replace=True, mode=0o600)
