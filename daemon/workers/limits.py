"""What the machine allows an engine process: its priority, its memory, and no life longer than its parent's."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

_MEMORY_SHARE = 0.75  # of the machine's memory
_PR_SET_PDEATHSIG = 1


def settle_in(parent_pid: int, nice: int, engines: int = 1) -> None:
    """Take an engine process's place on the machine: it ends with its parent, is limited, and gives way.

    To be called before there are threads. nice: at least, 0 to 19. engines: that share the machine's memory.
    """
    _end_with(parent_pid)
    _limit_memory(_MEMORY_SHARE / engines)
    if nice > os.getpriority(os.PRIO_PROCESS, 0):  # less than what the service was given would need rights
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def _limit_memory(share: float) -> None:
    """A photo that unpacks to gigabytes ends in a refusal or in this process, not in a machine that swaps.

    RLIMIT_DATA counts memory that can be written and is private. RLIMIT_AS would count the address space that
    CUDA only reserves, hundreds of gigabytes; RLIMIT_RSS does nothing.
    """
    physical_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit_bytes = int(physical_bytes * share)
    if hard == resource.RLIM_INFINITY or limit_bytes < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))
    # Should the kernel have to end a process after all, this one can be replaced.
    with contextlib.suppress(OSError):  # some containers mount /proc read-only
        Path("/proc/self/oom_score_adj").write_text("500")


def _end_with(parent_pid: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold uncloaked photos
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before prctl took effect
        raise SystemExit(1)
