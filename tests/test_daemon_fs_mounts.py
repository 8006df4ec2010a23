"""The mount table: what the kernel writes, read back; and real mounts, in a namespace of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faulty import NAMESPACE, needs_namespace
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.fs import mounts
from daemon.fs.mounts import Mount, parse

STICK = "a stick\\\n#"
# Mounts something below argv[1] and prints what the table told after each step.
PROGRAM = """
import json, subprocess, sys
from pathlib import Path
from daemon.fs.mounts import MountTable
root, stick = Path(sys.argv[1]), sys.argv[2]
table = MountTable()
def run(*command):
    subprocess.run(command, check=True, cwd=root)
def told():
    table.look()
    return sorted(mount.point.name for mount in table.below(root))
seen = [told()]
run("mount", "-t", "tmpfs", "none", stick)
seen.append(told())
run("mount", "--bind", "folder", "bound")
seen.append(told())
before = table.state_of(root)
seen.append(told())
is_same = table.state_of(root) == before
run("umount", "bound")
run("mount", "--bind", "folder", "bound")
seen.append(told())
print(json.dumps([seen, is_same, table.state_of(root) == before]))
"""


def line(point: bytes, kind: bytes = b"ext4", optional: bytes = b"") -> bytes:
    """A line as the kernel writes it."""
    escaped = re.sub(rb"[ \t\n\\#]", lambda match: b"\\%03o" % match[0][0], point)
    return b"36 35 98:1 /mnt1 %s rw,noatime %s- %s /dev/root rw\n" % (escaped, optional, kind)


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name and b"/" not in name))
@example(b"my stick\\040")
@example(b"\x85\r-")
def test_every_name_of_a_folder_is_read_back(name: bytes) -> None:
    path = b"/" + name
    (mount,) = parse(line(path))

    assert os.fsencode(mount.point) == os.fsencode(Path(os.fsdecode(path)))


@pytest.mark.parametrize("optional", [b"", b"shared:1 ", b"shared:1 master:2 propagate_from:3 "])
def test_optional_fields_are_skipped(optional: bytes) -> None:
    (mount,) = parse(line(b"/mnt2", b"fuse.sshfs", optional))

    assert mount == Mount(36, os.makedev(98, 1), Path("/mnt2"), "fuse.sshfs")


@pytest.mark.parametrize(
    ("kind", "remote"),
    [
        ("nfs4", True),
        ("cifs", True),
        ("fuse.rclone", True),
        ("fakeowner", True),
        ("fuse", True),
        ("fuseblk", False),
        ("ext4", False),
        ("btrfs", False),
    ],
)
def test_a_kind_tells_whether_files_change_from_elsewhere(kind: str, remote: bool) -> None:
    assert Mount(1, 1, Path("/x"), kind).is_remote is remote


def test_only_what_lies_below_counts_and_only_what_is_on_top() -> None:
    table = parse(
        line(b"/")
        + line(b"/out")
        + line(b"/outside")
        + line(b"/out/share", b"autofs")
        + line(b"/out/share", b"nfs4")
        + line(b"/out/.cache/doc", b"fuse.portal")
    )

    found = [(mount.point, mount.kind) for mount in mounts.below(Path("/out"), table)]

    assert found == [(Path("/out/share"), "nfs4")]


@needs_namespace
def test_real_mounts_come_and_go(tmp_path: Path) -> None:
    for name in (STICK, "folder", "bound"):
        (tmp_path / name).mkdir()
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", PROGRAM, str(tmp_path), STICK],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )

    seen, is_same, is_same_after_it_was_replaced = json.loads(done.stdout)
    assert seen == [[], [STICK], [STICK, "bound"], [STICK, "bound"], [STICK, "bound"]]
    assert is_same
    assert not is_same_after_it_was_replaced
