"""The control commands, their wire format (one line of JSON each way) and what they do to the ledger.

A running service applies a command in its own loop; if none runs, the client applies it to the ledger itself.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from daemon.config.settings import UserName
from daemon.control.decisions import Approve, ApproveAll, Decision, Effects, Publish, Recall, Reject, decide
from daemon.control.fields import STRICT, Relative, Root
from daemon.errors import InputError
from daemon.exits import Exit
from daemon.fs.absence import absence
from daemon.fs.files import snapshot_of
from daemon.model import REDO_REASON, Change, Choice, Outbox, Photo, Source, State
from daemon.state.ledger import Ledger
from daemon.text import printable
from fawkes_engine import FULL_STRENGTH, ModeName

LINE_MAX_BYTES = 1 << 16  # several of the longest paths, each byte escaped
PAUSE_MAX_S = 10 * 365 * 86400.0

_REDOABLE = frozenset({State.PUBLISHED, State.REVIEW, State.REJECTED, State.RECALLED})


@dataclass(frozen=True, slots=True)
class PauseOutbox:
    """Start no new photos of an outbox. for_s: seconds, at most PAUSE_MAX_S; None until resumed."""

    __pydantic_config__ = STRICT
    user: UserName
    root: Root
    for_s: Annotated[float, Field(gt=0, le=PAUSE_MAX_S, allow_inf_nan=False)] | None
    order: Literal["pause"] = "pause"


@dataclass(frozen=True, slots=True)
class Resume:
    """End the pause of an outbox."""

    __pydantic_config__ = STRICT
    user: UserName
    root: Root
    order: Literal["resume"] = "resume"


@dataclass(frozen=True, slots=True)
class Retry:
    """Retry a photo now that is held, or that waits after a failure."""

    __pydantic_config__ = STRICT
    user: UserName
    root: Root
    path: Relative
    order: Literal["retry"] = "retry"


@dataclass(frozen=True, slots=True)
class RetryAll:
    """Retry all photos now that are held, or that wait after a failure."""

    __pydantic_config__ = STRICT
    order: Literal["retry-all"] = "retry-all"


@dataclass(frozen=True, slots=True)
class Redo:
    """Cloak and publish a photo again, also if its published copy was deleted.

    mode, strength: how, from now on, as in `Choice`; no mode: as before. With one, a held photo is cloaked again too.
    """

    __pydantic_config__ = STRICT
    user: UserName
    root: Root
    path: Relative
    mode: ModeName | None = None
    strength: Annotated[int, Field(ge=0, le=FULL_STRENGTH)] = FULL_STRENGTH
    order: Literal["redo"] = "redo"


@dataclass(frozen=True, slots=True)
class NewTarget:
    """Let a user's next photos have a new target, in place of one that is lost."""

    __pydantic_config__ = STRICT
    user: UserName
    order: Literal["new-target"] = "new-target"


@dataclass(frozen=True, slots=True)
class Reload:
    """Read the configuration again."""

    __pydantic_config__ = STRICT
    order: Literal["reload"] = "reload"


LedgerCommand = PauseOutbox | Resume | Retry | RetryAll | Redo | NewTarget | Decision
Command = LedgerCommand | Reload
# on the wire, `order` is the name of a command, as in earlier versions of the service
_COMMANDS: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="order")])


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a command. code: its exit code. message: for users."""

    code: Exit
    message: str


def encode(value: Command | Reply) -> bytes:
    """Encode a command or a reply as one line."""
    return json.dumps(asdict(value), default=str).encode() + b"\n"


def decode_command(line: bytes) -> Command:
    """Decode a line into a command. Raises InputError, which names the fault without repeating the line."""
    try:
        return _COMMANDS.validate_python(json.loads(line))
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        raise InputError(f"this is not a command: {first['msg']} at {first['loc']}") from exc
    except (ValueError, RecursionError) as exc:
        raise InputError("this is not a command: not a line of JSON") from exc


def decode_reply(line: bytes) -> Reply:
    """Decode a line into a reply. Raises ValueError or KeyError for anything else."""
    values: dict[str, Any] = json.loads(line)
    return Reply(Exit(values["code"]), str(values["message"]))


def apply(command: LedgerCommand, ledger: Ledger, effects: Effects) -> str:
    """Apply a command to the ledger and return what was done.

    Raises InputError if the command does not apply to its photo.
    """
    match command:
        case PauseOutbox():
            ledger.pauses.add(Outbox(command.user, command.root), *([command.for_s] if command.for_s else []))
            return f"{printable(command.root)}: paused"
        case Resume():
            was_paused = ledger.pauses.remove(Outbox(command.user, command.root))
            return f"{printable(command.root)}: {'resumed' if was_paused else 'was not paused'}"
        case RetryAll():
            return f"{ledger.retry(None)} photo(s) will be retried"
        case Retry() | Redo():
            source = Source(Outbox(command.user, command.root), command.path)
            return (
                _retry(source, ledger)
                if isinstance(command, Retry)
                else _redo(source, command, ledger, effects)
            )
        case NewTarget():
            ledger.targets.release(command.user)
            return f"{command.user}: the next photo is published with a new target"
        case Approve() | ApproveAll() | Reject() | Recall() | Publish():
            return decide(command, ledger, effects)


def _retry(source: Source, ledger: Ledger) -> str:
    if not ledger.retry(source):
        status = _status(source, ledger.latest(source))
        raise InputError(f"{printable(source.path)} {status}; `retry` is for photos that failed")
    return f"{printable(source.path)}: will be retried"


def _status(source: Source, latest: Photo | None) -> str:
    if latest is None:
        return "is a folder" if source.path.is_dir() else "is not known"
    return f"is {latest.state.value}"


def _redo(source: Source, command: Redo, ledger: Ledger, effects: Effects) -> str:
    choice = Choice(command.mode, command.strength) if command.mode else None
    latest = ledger.latest(source)
    wanted = _REDOABLE | {State.HELD} if choice else _REDOABLE
    if latest is None or latest.state not in wanted:
        raise InputError(
            f"{printable(source.path)} {_status(source, latest)}; `redo` is for published photos, and for those "
            "that were rejected or recalled or wait for review"
        )
    away = absence(source.outbox.root)
    if away is not None:
        raise InputError(f"the outbox {printable(source.outbox.root)} {away}; is its drive mounted?")
    if snapshot_of(source.path) is None:
        raise InputError(f"{printable(source.path)} no longer exists; restore the original first")
    effects.drop_result(latest)  # first: it is to be made again, not to be found
    # A superseded row without a successor makes the next scan process the file again.
    ledger.move(latest, State.SUPERSEDED, Change(reason=REDO_REASON, choice=choice))
    effects.look_again(source)
    how = f", in mode {choice.mode} at strength {choice.strength}" if choice else ""
    return f"{printable(source.path)}: will be cloaked and published again{how}"
