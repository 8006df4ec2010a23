"""`fawkesd cloak -`: one photo from standard input to standard output, on which there is nothing else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.batch.cloak import CloakJob, Outcome, protect
from daemon.batch.output_folder import NotWritten, Written
from daemon.errors import InputError, OutputError
from daemon.workers.protocol import PHOTO_MAX_BYTES, TOO_LARGE, EngineLike
from fawkes_engine import Refusal, Step

STREAM = "-"  # on the command line, in place of a photo; `./-` is a file
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_EXAMPLE = "`fawkesd cloak - --user NAME < IMG_1.jpg > cloaked.jpg`"


def read() -> bytes:
    """Return the photo on standard input, to its end. Raises InputError if there is none, or it cannot be read."""
    if sys.stdin is None:  # closed at the start: its number may be that of another file by now
        raise InputError(f"standard input is closed; give it a photo: {_EXAMPLE}")
    if os.isatty(_STDIN):
        raise InputError(f"standard input is the terminal; give it a photo: {_EXAMPLE}")
    try:
        with open(_STDIN, "rb", closefd=False) as file:
            data = file.read(PHOTO_MAX_BYTES + 1)
    except OSError as exc:
        raise InputError(f"standard input cannot be read ({exc.strerror})") from exc
    if not data:
        raise InputError(f"standard input is empty; give it a photo: {_EXAMPLE}")
    if len(data) > PHOTO_MAX_BYTES:
        raise InputError(f"the photo is {TOO_LARGE}")
    return data


@contextlib.contextmanager
def output() -> Iterator[int]:
    """Context manager: the only descriptor that leads to standard output during the with block.

    Whatever prints meanwhile, also in a library, prints to standard error. Raises OutputError if standard output is a
    terminal or closed.
    """
    if sys.stdout is None:
        raise OutputError(f"standard output is closed; redirect it: {_EXAMPLE}")
    if os.isatty(_STDOUT):
        raise OutputError(
            f"standard output is the terminal, which cannot show a photo; redirect it: {_EXAMPLE}"
        )
    sys.stdout.flush()
    descriptor = os.dup(_STDOUT)
    messages = os.open(os.devnull, os.O_WRONLY) if sys.stderr is None else os.dup(_STDERR)
    os.dup2(messages, _STDOUT)
    os.close(messages)
    try:
        yield descriptor
    finally:
        sys.stdout.flush()
        ctypes.CDLL(None).fflush(None)  # what C libraries have printed, too, is for standard error
        os.dup2(descriptor, _STDOUT)
        os.close(descriptor)


def cloak(
    job: CloakJob,
    engine: EngineLike,
    photo: bytes,
    descriptor: int,
    on_step: Callable[[Step], None] | None = None,
) -> Outcome:
    """Cloak a photo and write its copy; nothing is written for one that is held. Raises OutputError."""
    (result,) = protect(job, engine, [photo], on_step)
    if isinstance(result, Refusal):
        return NotWritten(Path("standard input"), str(result))
    _write(descriptor, result.data)
    return Written(Path("standard input"), Path("standard output"), result)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BrokenPipeError as exc:
        raise OutputError("whoever reads standard output stopped before the photo was complete") from exc
    except OSError as exc:
        raise OutputError(
            f"standard output, where the photo is not complete, cannot be written ({exc.strerror})"
        ) from exc
