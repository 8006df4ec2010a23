"""A child process that asks every decoder and container reader of ours about a file, in little memory and time."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import multiprocessing
import os
import re
import resource
import signal
import struct
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from daemon.model import Unfinished
from daemon.watch.completeness import missing_of
from fawkes_engine import HeicAs, MetadataPolicy, Refusal
from fawkes_engine.photo import boxes, exif, png_colours
from fawkes_engine.photo.decode import Photo, decode, decode_pixels, pixel_count
from fawkes_engine.photo.encode import encode

LIMIT_BYTES = 2 << 30  # of a child
# What a picture may take: so much, and so much for each of its pixels (Pillow's four bytes, three turned, copies)
ALLOWED_BYTES, ALLOWED_BYTES_PER_PIXEL = 192 << 20, 24
SLOW_CPU_S, HANG_CPU_S = 20.0, 60.0
IDLE_S = 120.0  # without having computed: what waits for a processor of a busy machine is no hang
LARGEST_WRITTEN_PIXELS = 1_000_000  # larger pictures are read, and not written anew
READY = "ready"
EVERYTHING = MetadataPolicy(all=True, camera=True, gps=True)
Look = Callable[[bytes], str]


@dataclass(frozen=True)
class Answer:
    """What became of one file. verdict: a kind of refusal, or how it was read. fault: what is wrong, or nothing."""

    verdict: str
    fault: str = ""
    cpu_s: float = 0.0
    peak_bytes: int = 0


def look(data: bytes) -> str:
    """Ask every reader of ours about a file. Returns how it was read; raises a Refusal, or shows a fault."""
    for was_written in (True, False):
        _missing_of(data, was_written=was_written)
    _read_metadata(data)
    photo = decode(data, EVERYTHING, HeicAs.JPEG)
    height, width = photo.pixels.shape[:2]
    if photo.colour is not None:
        photo.colour.from_srgb(photo.colour.to_srgb(photo.pixels[:64, :64]))
    if height * width > LARGEST_WRITTEN_PIXELS:
        return f"read as {photo.format}"
    _write(photo)
    if photo.format == "JPEG" and data[4:8] == b"ftyp":
        _write(decode(data, EVERYTHING, HeicAs.HEIC))
    return f"written as {photo.format}"


def _missing_of(data: bytes, *, was_written: bool) -> Unfinished | None:
    return missing_of(io.BytesIO(data), len(data), lambda _position: was_written)


def _read_metadata(data: bytes) -> None:
    """Call the readers that `decode` calls, for what they say they raise: it forgives them everything."""
    header = re.search(rb"II[*+]\0|MM\0[*+]", data)
    block = data[header.start() :] if header else b""
    with contextlib.suppress(ValueError):
        exif.read(block, EVERYTHING)
    with contextlib.suppress(ValueError):
        exif.orientation(block)
    with contextlib.suppress(struct.error):
        boxes.exif(data)
    with contextlib.suppress(struct.error):
        boxes.is_cropped(data)
    for grey in (True, False):
        png_colours.profile(png_colours.read(data), grey=grey)


def _write(photo: Photo) -> None:
    copy = encode(photo, photo.pixels, quality=80)
    if _missing_of(copy, was_written=True) is not None:
        raise AssertionError("a copy of ours is unfinished")
    if decode_pixels(copy).shape != photo.pixels.shape:
        raise AssertionError("a copy of ours has another size")


def serve(connection: Connection, look_at: Look, limit_bytes: int) -> None:
    """Body of the child: a file in, an Answer out."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    connection.send(READY)
    while True:
        try:
            data = connection.recv_bytes()
        except EOFError:
            return
        connection.send(_answer(data, look_at))


def _answer(data: bytes, look_at: Look) -> Answer:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, begun = _peak_bytes(), time.process_time()
    fault = ""
    try:
        verdict = look_at(data)
    except Refusal as refusal:
        verdict = f"refused: {type(refusal).__name__}"
    except MemoryError:
        verdict = "refused: out of memory"  # as the engine's process answers it
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
        verdict = "fault"
        last = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno}, {last.name})"
    cpu_s, peak = time.process_time() - begun, _peak_bytes() - before
    allowed = ALLOWED_BYTES + ALLOWED_BYTES_PER_PIXEL * pixel_count(data)
    if not fault and peak > allowed:
        fault = "more memory than a picture of its size"
    if not fault and cpu_s > SLOW_CPU_S:
        fault = "slow"
    return Answer(verdict, fault, cpu_s, peak)


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


class Child:
    """A process that looks at files; a new one takes its place when it ends."""

    def __init__(self, look_at: Look = look, limit_bytes: int = LIMIT_BYTES, idle_s: float = IDLE_S) -> None:
        self._arguments = (look_at, limit_bytes)
        self._idle_s = idle_s
        self._start()

    def ask(self, data: bytes) -> Answer:
        """Have a file looked at."""
        try:
            self._connection.send_bytes(data)
            if self._has_answered():
                answer: Answer = self._connection.recv()
                return answer
            ended = "hang"
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        self.close()
        self._start()
        return Answer("fault", ended)

    def _has_answered(self) -> bool:
        """Wait for the answer; False if the child computes for too long, or sleeps."""
        begun = active = self._cpu_s()
        slept_s, every_s = 0.0, min(1.0, self._idle_s / 2)
        while not self._connection.poll(every_s):
            cpu_s = self._cpu_s()
            slept_s = slept_s + every_s if cpu_s == active and self._state() == "S" else 0.0
            active = cpu_s
            if cpu_s - begun > HANG_CPU_S or slept_s > self._idle_s:
                return False
        return True

    def _cpu_s(self) -> float:
        user, system = self._stat()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _state(self) -> str:
        return self._stat()[0]

    def _stat(self) -> list[str]:
        """The fields of /proc/PID/stat from the third on, the state (proc_pid_stat(5))."""
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *self._arguments), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()  # READY: the limit of time is a file's, not that of starting
