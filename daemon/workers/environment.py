"""The environment variables an engine computes best with; glibc and GNU OpenMP read them once, when they are loaded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

# With glibc's defaults every large tensor is mapped, zeroed by the kernel and unmapped again, which took up
# to half of a batch's time. 32 MiB is the largest threshold that glibc accepts.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
# An arithmetic thread that waits for another spins a little, then sleeps. Per face of the network, 2 cores: on a quiet
# machine 6 ms (8 if it never spins), beside three busy programs 17 ms (42 if it spins as long as GNU OpenMP does by
# default).
SPIN_COUNT = ("GOMP_SPINCOUNT", "10000")


@contextlib.contextmanager
def engine_environment() -> Iterator[None]:
    """Give processes that are started in a with block the environment of an engine; a spin count that is set stays.

    They begin in the working directory, which is left for / if it is gone or, as after `sudo -u`, this account may not
    enter it.
    """
    try:
        os.chdir(Path.cwd())
    except OSError:
        os.chdir("/")
    name, spins = SPIN_COUNT
    wanted = _MALLOC | {name: os.environ.get(name, spins)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def load_torch() -> None:
    """Import PyTorch, and with it OpenMP, for an engine in this process, whose own environment stays as it is.

    To be called before any other import that needs PyTorch: OpenMP looks at its variables only this once.
    """
    with engine_environment():
        import torch  # noqa: F401
