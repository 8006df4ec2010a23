"""Tiny real stand-ins: an engine of twenty lines without torch, and photos for it.

`make_engine` goes to the engine process as "twins:make_engine". What a photo makes the engine do is written
in the photo: the colour of its top left corner. No such colour is the inverse of another, so that a cloaked
photo can be told from its source.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

from PIL import Image, ImageOps

from daemon.state.targets import FileTargetStore
from fawkes_engine import (
    FULL_STRENGTH,
    EngineSettings,
    FaceReport,
    ModeName,
    NoFace,
    NotProtected,
    Phase,
    Protected,
    Refusal,
    Report,
    Request,
    Step,
    Target,
    Unreadable,
    WeightsError,
)

log = logging.getLogger(__name__)


class Deed(Enum):
    """What the engine does with a photo; the value is its colour."""

    PROTECT = (230, 60, 60)
    REFUSE = (60, 230, 60)
    DIE = (60, 60, 230)
    HANG = (230, 120, 60)
    RAISE = (60, 230, 120)
    TAKE_A_SECOND = (230, 60, 120)
    CLOAK_TOO_WEAKLY = (120, 60, 230)
    NEED_ALL_MEMORY = (60, 120, 230)
    NEED_TOO_MUCH = (120, 230, 60)


LEAST_STRENGTH = 50  # that protects
HOLD = "hold the engine"  # the tiny engine waits while a file of this name lies beside the state folder


class TinyEngine:
    """Inverts photos. fingerprint, device_name, warm_up, protect: as the real engine's."""

    fingerprint = "tiny-1"
    device_name = "abacus"

    def __init__(self, hold: Path | None = None) -> None:
        """hold: while there is such a file, a photo is a quarter done."""
        self._hold = hold

    def warm_up(self) -> None:
        return

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> list[Protected | Refusal]:
        log.warning("the tiny engine works on %d", len(requests))
        while self._hold is not None and self._hold.exists():
            if on_step is not None:
                on_step(Step(Phase.CLOAK, 0.25))
            time.sleep(0.02)
        self._check_memory([_deed(request.data) for request in requests])
        return [_protect(request, on_step) for request in requests]

    def _check_memory(self, deeds: Sequence[Deed | None]) -> None:
        if Deed.NEED_TOO_MUCH in deeds or (Deed.NEED_ALL_MEMORY in deeds and len(deeds) > 1):
            raise OutOfMemoryError("CUDA out of memory")


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


class EngineWithoutDevice(TinyEngine):
    """What is left after a suspend: every call fails until the process is a new one."""

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> list[Protected | Refusal]:
        raise RuntimeError("CUDA error: unspecified launch failure")


def make_engine_that_loses_its_device(settings: EngineSettings, targets_dir: Path) -> TinyEngine:
    """The first one fails at its work; the one after it is well."""
    lost = targets_dir.with_name("lost")
    if lost.exists():
        return make_engine(settings, targets_dir)
    lost.touch()
    return EngineWithoutDevice()


def make_engine_without_weights(_settings: EngineSettings, _targets_dir: Path) -> TinyEngine:
    raise WeightsError("the weights of dlib are missing")


def make_engine(_settings: EngineSettings, targets_dir: Path) -> TinyEngine:
    return TinyEngine(hold_of(targets_dir.parent))


def make_engine_of_which_one_loads_first(settings: EngineSettings, targets_dir: Path) -> TinyEngine:
    """One is ready at once, the others when it is no longer held."""
    try:
        targets_dir.with_name("first").touch(exist_ok=False)
    except FileExistsError:
        while hold_of(targets_dir.parent).exists():
            time.sleep(0.02)
    return make_engine(settings, targets_dir)


def hold_of(state_dir: Path) -> Path:
    """The file that holds the engine."""
    return state_dir.with_name(HOLD)


class FaithfulEngine(TinyEngine):
    """Moves each photo toward its user's target in the real store, as the real engine does, and says so."""

    def __init__(self, targets_dir: Path) -> None:
        super().__init__(hold_of(targets_dir.parent))
        self._store = FileTargetStore(targets_dir)

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> list[Protected | Refusal]:
        with self._store.alone():
            targets = {one.user: self._target(one.user).identity for one in requests}
        results = super().protect(requests, on_step=on_step)
        return [
            moved_toward(targets[one.user], one.user, it) for one, it in zip(requests, results, strict=True)
        ]

    def _target(self, user: str) -> Target:
        return self._store.get(user) or self._store.add(user, any_target())


def any_target() -> Target:
    """A target that nobody else has."""
    return Target(
        f"nobody-{secrets.token_hex(4)}", "1", {"tiny": (1.0,)}, {}, "2026-01-02T03:04:05+00:00", ()
    )


def make_faithful_engine(_settings: EngineSettings, targets_dir: Path) -> TinyEngine:
    return FaithfulEngine(targets_dir)


def moved_toward(target: str, user: str, result: Protected | Refusal) -> Protected | Refusal:
    """The result of a photo on which the user's face was moved toward a target."""
    if isinstance(result, Refusal):
        return result
    face = FaceReport((0, 0, 48, 48), 48, user, target, 0.0, 0.0, 0.0, 0.0, 0.0, {}, {}, 1)
    return replace(result, report=replace(result.report, faces=(face,)))


def make_broken_engine(_settings: EngineSettings, _targets_dir: Path) -> TinyEngine:
    raise RuntimeError("the weights are missing")


def make_photo(deed: Deed = Deed.PROTECT, seed: int = 0, file_format: str = "JPEG") -> bytes:
    """A small photo, different for each seed."""
    image = Image.new("RGB", (48, 48), deed.value)
    image.paste((seed % 251, seed // 251 % 251, 90), (24, 24, 48, 48))
    stream = io.BytesIO()
    image.save(stream, file_format, quality=95, subsampling=0)
    return stream.getvalue()


def is_cloaked(data: bytes) -> bool:
    """Whether these bytes are a whole photo that has been through the tiny engine."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.load()
    return any(_is_near(_top_left(image), tuple(255 - c for c in deed.value)) for deed in Deed)


def protected(
    data: bytes, suffix: str = ".jpg", mode: ModeName | None = None, strength: int = FULL_STRENGTH
) -> Protected:
    """A result with these bytes, as the tiny engine makes them."""
    report = Report(faces=(), seconds=0.01, fingerprint=TinyEngine.fingerprint, mode=mode, strength=strength)
    return Protected(data, hashlib.sha256(data).hexdigest(), suffix, report)


def _protect(request: Request, on_step: Callable[[Step], None] | None) -> Protected | Refusal:
    if on_step is not None:
        on_step(Step(Phase.CLOAK, 0.5))
    try:
        source = Image.open(io.BytesIO(request.data))
        image = source.convert("RGB")
    except OSError:
        return Unreadable("the file is damaged")
    file_format = source.format or "JPEG"
    deed = _deed_of(image) or Deed.REFUSE
    if deed is Deed.REFUSE and not request.publish_faceless:
        return NoFace("no face was found")
    if request.strength < LEAST_STRENGTH:
        return NotProtected(f"strength {request.strength} is too little: the face still looks like its owner")
    if deed is Deed.CLOAK_TOO_WEAKLY:
        return NotProtected("the face still looks like its owner to a recogniser")
    _misbehave(deed)
    stream = io.BytesIO()
    ImageOps.invert(image).save(stream, file_format, quality=95, subsampling=0)
    suffix = ".jpg" if file_format == "JPEG" else f".{file_format.lower()}"
    return protected(stream.getvalue(), suffix, request.mode, request.strength)


def _deed(data: bytes) -> Deed | None:
    try:
        return _deed_of(Image.open(io.BytesIO(data)).convert("RGB"))
    except OSError:
        return None


def _deed_of(image: Image.Image) -> Deed | None:
    return next((deed for deed in Deed if _is_near(_top_left(image), deed.value)), None)


def _misbehave(deed: Deed) -> None:
    if deed is Deed.DIE:
        os.kill(os.getpid(), signal.SIGKILL)
    if deed is Deed.HANG:
        signal.pause()
    if deed is Deed.RAISE:
        raise RuntimeError("out of memory")
    if deed is Deed.TAKE_A_SECOND:
        time.sleep(1.0)


def _top_left(image: Image.Image) -> tuple[int, ...]:
    pixel = image.getpixel((4, 4))
    assert isinstance(pixel, tuple)
    return tuple(int(c) for c in pixel)


def _is_near(a: Sequence[int], b: Sequence[int]) -> bool:
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) < 30
