"""What an engine's process is started with and loads first.

The environment variables it computes best with, which glibc and GNU OpenMP read once, when they are loaded; then
PyTorch and torchvision.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path

# With glibc's defaults every large tensor is mapped, zeroed by the kernel and unmapped again, which took up
# to half of a batch's time. 32 MiB is the largest threshold that glibc accepts.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
# An arithmetic thread that waits for another spins a little, then sleeps. Eight photos on 2 cores, wall s, in turns: on
# a quiet machine 34 to 39 with 3,000 and 10,000 alike, 44 and 45 with 1,000; beside a busy program 79 and 107 with
# 3,000, 113 and 143 with 10,000. GNU OpenMP's default spins longer still.
SPIN_COUNT = ("GOMP_SPINCOUNT", "3000")
_COMPILER = "torch._dynamo"


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
    """Import PyTorch, with it OpenMP, and torchvision for an engine in this process, whose environment stays as it is.

    To be called before any other import that needs PyTorch: OpenMP looks at its variables only this once.
    """
    with engine_environment():
        import torch  # noqa: F401
    with _without_compiler():
        importlib.import_module("torchvision")


@contextlib.contextmanager
def _without_compiler() -> Iterator[None]:
    """Keep torchvision from loading PyTorch's compiler, which no engine uses.

    torchvision 0.29 takes one function from it, by which `roi_align` decides whether to compile itself: 145 MiB and
    1.4 of 3.4 CPU s until an engine's modules are there (findings/torchvision_loads_the_compiler.sh). Other versions
    may need more of it.
    """
    if not importlib.metadata.version("torchvision").startswith("0.29.") or _COMPILER in sys.modules:
        yield
        return
    utils = types.ModuleType(f"{_COMPILER}.utils")
    vars(utils)["is_compile_supported"] = _never
    stand_ins = {_COMPILER: types.ModuleType(_COMPILER), utils.__name__: utils}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _never(_device_type: str) -> bool:
    return False
