"""Confines an engine process: its priority, its memory, and its life to that of its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

_MEMORY_SHARE = 0.75  # of the machine's memory
_PR_SET_PDEATHSIG = 1
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # the machine's own group has none


def confine(parent_pid: int, nice: int, engines: int = 1) -> None:
    """Confine this process: it dies with its parent, and its memory and priority are limited.

    To be called before any thread starts. nice: at least, 0 to 19. engines: how many share the machine's memory.
    """
    _die_with(parent_pid)
    _limit_memory(_MEMORY_SHARE / engines)
    if nice > os.getpriority(
        os.PRIO_PROCESS, 0
    ):  # lowering the niceness of the service would need privileges
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def memory_mib() -> int:
    """The memory of this machine, or of the container that this runs in if that has less."""
    memory = _physical_bytes()
    with contextlib.suppress(OSError, ValueError):  # there is no container, or it has no limit ("max")
        memory = min(memory, int(_CONTAINER_LIMIT.read_text()))
    return memory >> 20


def _physical_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limit_memory(share: float) -> None:
    """Limit memory: a photo that unpacks to gigabytes is refused or kills this process; the machine does not swap.

    RLIMIT_DATA counts private writable memory. RLIMIT_AS would count the address space that
    CUDA only reserves, hundreds of gigabytes; RLIMIT_RSS does nothing.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit_bytes = int(_physical_bytes() * share)
    if hard == resource.RLIM_INFINITY or limit_bytes < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))
    # If the kernel's OOM killer acts after all, it should pick this process, which can be replaced.
    with contextlib.suppress(OSError):  # some containers mount /proc read-only
        Path("/proc/self/oom_score_adj").write_text("500")


def _die_with(parent_pid: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold uncloaked photos
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before prctl took effect
        raise SystemExit(1)
