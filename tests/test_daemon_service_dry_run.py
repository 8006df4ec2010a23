"""`fawkesd once --dry-run`: what it says is what `once` then does, and it changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Home
from faulty import FACTORY, Counter
from twins import Deed, make_photo

from daemon.cli.main import run_command
from daemon.control import client, commands
from daemon.exits import Exit
from daemon.service.dry_run import Act, plan
from daemon.service.run import once


def tree(home: Home) -> list[tuple[str, bytes]]:
    """Every file and its bytes, but for the memory that readers of the ledger share, and an empty log."""
    files = [
        path for path in home.outbox.parent.rglob("*") if path.is_file() and path.suffix != ".sqlite3-shm"
    ]
    return sorted((str(path), data) for path in files if (data := path.read_bytes()))


def acts(home: Home) -> dict[str, Act]:
    return {str(step.path.relative_to(home.outbox)): step.act for step in plan(home.settings).steps}


def test_what_is_said_is_what_once_does(home: Home) -> None:
    (home.outbox / "trip").mkdir()
    (home.outbox / "trip" / "a.jpg").write_bytes(make_photo())
    (home.outbox / "done.jpg").write_bytes(make_photo(seed=1))
    (home.outbox / "empty.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "new.jpg").write_bytes(make_photo(seed=2))
    (home.outbox / "trip" / "a.jpg").write_bytes(make_photo(seed=3))
    (home.outbox / "half.jpg").write_bytes(make_photo(seed=4)[:-40])
    (home.outbox / "bell\a.jpg").write_bytes(make_photo(seed=5))
    (home.outbox / "clip.mp4").write_bytes(b"video")
    home = home.ignoring("*_draft.jpg")
    (home.outbox / "x_draft.jpg").write_bytes(make_photo(seed=6))
    before = tree(home)

    said = acts(home)

    assert said == {
        "bell\a.jpg": Act.HOLD,
        "half.jpg": Act.WAIT,
        "new.jpg": Act.CLOAK,
        "trip/a.jpg": Act.CLOAK,
    }
    assert tree(home) == before
    (home.outbox / "half.jpg").unlink()
    result = once(home.settings, Counter(), FACTORY)
    assert result.published == 2
    assert {photo.path.name for photo in result.held} == {"bell\a.jpg", "empty.jpg"}
    assert acts(home) == {}


def test_a_folder_whose_file_is_faulty_is_held(home: Home) -> None:
    (home.outbox / "trip").mkdir()
    (home.outbox / "trip" / ".fawkesd.yaml").write_text("strength: much")
    (home.outbox / "trip" / "a.jpg").write_bytes(make_photo())
    (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))

    assert acts(home) == {"trip/a.jpg": Act.HOLD, "b.jpg": Act.CLOAK}


def test_before_the_first_start_everything_is_new_and_no_state_folder_is_made(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())

    assert acts(home) == {"a.jpg": Act.CLOAK}
    assert not home.state_dir.exists()


def test_a_paused_outbox_waits(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))
    client.run(home.state_dir, commands.PauseOutbox("ada", home.outbox, None))

    (step,) = plan(home.settings).steps
    assert (step.act, step.path.name, step.reason) == (Act.WAIT, "b.jpg", "paused by hand")


def test_the_command_prints_a_line_for_each_photo_and_69_for_a_missing_folder(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    config = str(home.write_config())
    arguments = ["once", "--dry-run", "--config", config]

    assert run_command(arguments) == Exit.OK
    said = capsys.readouterr()
    assert (
        said.out
        == f"would cloak: {home.outbox / 'a.jpg'}\n1 to cloak, 0 to wait, 0 to hold, 0 to remove; nothing was changed\n"
    )

    home.sync.rmdir()
    assert run_command(arguments) == Exit.UNAVAILABLE
    said = capsys.readouterr()
    assert said.out.startswith(f"would wait: {home.outbox / 'a.jpg'}: {home.sync} does not exist\n")
    assert f"nothing can be published for ada: {home.sync} does not exist" in said.err

    Path(home.outbox / "a.jpg").unlink()
    os.rmdir(home.outbox)  # noqa: PTH106
    assert run_command(arguments) == Exit.UNAVAILABLE
    assert f"the outbox {home.outbox} does not exist" in capsys.readouterr().err
