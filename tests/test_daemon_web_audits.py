"""Audits that the page starts; a small program stands in for the command, which takes minutes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Home
from faulty import Counter
from twins import make_photo

from daemon.errors import InputError
from daemon.service.run import once
from daemon.web.audits import Audits

Wait = Callable[[Callable[[], object]], None]
FACTORY = "twins:make_faithful_engine"
ROWS = [
    {
        "tracker": "dlib",
        "head": "nearest",
        "learned": learned,
        "recognised": {"share": share, "low": 0, "high": 1},
    }
    for learned, share in (("the clean photos", 0.9), ("what was published", 0.104))
]
FIGURES = {"published": ["a", "b"], "clean": ["c", "d", "e"], "leaked": ["a"], "rows": ROWS}
PROGRAM = f"""#!{sys.executable}
import json, pathlib, sys, time
folder = pathlib.Path(__file__).parent
print("finding the faces", file=sys.stderr, flush=True)
while not (folder / "go on").exists():
    time.sleep(0.02)
if (folder / "fail").exists():
    sys.exit("fawkesd: a face was found in 0 photos")
print(json.dumps({FIGURES!r}))
pathlib.Path(sys.argv[sys.argv.index("--html") + 1]).write_text("<p>told</p><svg><rect/></svg><p>more</p>")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """What runs in place of the command; it waits for a file named "go on" beside it."""
    path = tmp_path / "program" / "python"
    path.parent.mkdir()
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return path


@pytest.fixture
def audits(home: Home, program: Path, monkeypatch: pytest.MonkeyPatch) -> Audits:
    for name in "ab":
        (home.outbox / f"{name}.jpg").write_bytes(make_photo(seed=ord(name)))
    once(home.settings, Counter(), FACTORY)
    folder = home.state_dir / "web"
    folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(program))  # not before: it starts engines, too
    return Audits(folder, home.write_config(), home.settings)


def test_an_audit_tells_what_it_does_and_what_it_found(
    home: Home, audits: Audits, program: Path, eventually: Wait
) -> None:
    (user,) = home.settings.users
    assert audits.result("ada") is None
    audits.start(user)
    run = audits.of("ada")
    assert run is not None
    eventually(lambda: run.said == "finding the faces")
    with pytest.raises(InputError, match="wait until it is done"):
        audits.start(user)
    assert audits.result("ada") is None

    program.with_name("go on").touch()
    eventually(lambda: run.code == 0)

    found = audits.result("ada")
    assert found is not None
    assert (found.published, found.clean, found.leaked) == (2, 3, 1)
    assert found.learned == ("the clean photos", "what was published")
    assert found.rows == {("dlib", "nearest"): ("90 %", "10 %")}
    assert audits.plot("ada") == "<svg><rect/></svg>"


def test_an_audit_that_fails_keeps_what_was_found_before(
    home: Home, audits: Audits, program: Path, eventually: Wait
) -> None:
    (user,) = home.settings.users
    program.with_name("go on").touch()
    audits.start(user)
    eventually(lambda: audits.result("ada"))
    first = audits.result("ada")
    program.with_name("fail").touch()

    eventually(lambda: (run := audits.of("ada")) and run.code == 0)
    audits.start(user)

    run = audits.of("ada")
    assert run is not None
    eventually(lambda: run.code == 1)
    assert run.said == "a face was found in 0 photos"
    assert audits.result("ada") == first


def test_too_few_photos_are_told_before_anything_starts(home: Home, audits: Audits) -> None:
    (home.outbox / "a.jpg").unlink()
    (user,) = home.settings.users

    with pytest.raises(InputError, match="There is 1 so far"):
        audits.start(user)

    assert audits.of("ada") is None


def test_photos_whose_copy_is_gone_do_not_count(home: Home, audits: Audits) -> None:
    for path in home.sync.glob("*.jpg"):
        path.unlink()

    with pytest.raises(InputError, match="There are none so far"):
        audits.start(home.settings.users[0])
