"""Runs a program where hard links are refused as FAT refuses them: `python nolinks.py [--no-flag] PROGRAM...`.

--no-flag: renameat2() knows no RENAME_NOREPLACE either, as with older FUSE programs. A seccomp filter, which needs no
rights and is in force for real system calls of all children.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from pathlib import Path

import pytest

_CALLS = {
    "x86_64": {"link": 86, "linkat": 265, "renameat2": 316},
    "aarch64": {"linkat": 37, "renameat2": 276},
}
_NUMBERS = _CALLS.get(platform.machine(), {})

NO_LINKS = (sys.executable, str(Path(__file__)))
NO_LINKS_NO_FLAG = (*NO_LINKS, "--no-flag")
needs_seccomp = pytest.mark.skipif(not _NUMBERS, reason="no numbers of system calls for this processor")

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER_AT, _FLAGS_AT = 0, 16 + 4 * 8  # in struct seccomp_data: the call, and its fifth argument


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _refuse(*, no_flag: bool) -> None:
    """Install the filter in this process and what it becomes."""
    lines = [(_LOAD, 0, 0, _NUMBER_AT)]
    for name in ("link", "linkat"):
        if name in _NUMBERS:
            lines += [(_IF_EQUAL, 0, 1, _NUMBERS[name]), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    if no_flag:
        lines += [
            (_IF_EQUAL, 0, 3, _NUMBERS["renameat2"]),
            (_LOAD, 0, 0, _FLAGS_AT),
            (_IF_EQUAL, 1, 0, 0),
            (_RETURN, 0, 0, _ERRNO | errno.EINVAL),
        ]
    lines.append((_RETURN, 0, 0, _ALLOW))
    code = b"".join(struct.pack("HBBI", *line) for line in lines)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(lines), code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "no filter can be installed")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    without_flag = arguments[0] == "--no-flag"
    _refuse(no_flag=without_flag)
    command = arguments[1:] if without_flag else arguments
    os.execvp(command[0], command)
