"""Faults 21 to 26, 32, 36, 42: twins, links, strange names, folders that overlap, results that were removed."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
import yaml
from conftest import Home
from faulty import FACTORY, Counter, Start, Wait, column, engine_works, states
from twins import is_cloaked, make_photo

from daemon.config.loader import parse
from daemon.errors import ConfigError, SourceFault
from daemon.fs.filenames import twin_key
from daemon.fs.files import read_source, snapshot_of
from daemon.model import Change, Outbox, Settled, Source, State
from daemon.service.run import once
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME


def test_fault_21_the_same_content_under_three_names_gives_three_equal_photos(home: Home) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (home.outbox / name).write_bytes(make_photo())

    once(home.settings, Counter(), FACTORY)

    assert home.published() == ["a.jpg", "b.jpg", "c.jpg"]
    assert len({(home.sync / name).read_bytes() for name in home.published()}) == 1


def test_fault_21_a_touched_photo_is_not_cloaked_again(home: Home, start: Start, eventually: Wait) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    daemon = start(home.settings)
    eventually(lambda: states(home) == ["published"])
    inode = (home.sync / "a.jpg").stat().st_ino

    (home.outbox / "a.jpg").write_bytes(make_photo())

    eventually(lambda: states(home) == ["superseded", "published"])
    assert engine_works(daemon) == 1
    assert (home.sync / "a.jpg").stat().st_ino == inode
    assert column(home, "output_sha256") == [column(home, "output_sha256")[0]] * 2


def test_fault_22_no_link_leads_to_a_photo(home: Home, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(make_photo())
    (home.outbox / "link.jpg").symlink_to(outside / "secret.jpg")
    (home.outbox / "folder").symlink_to(outside)
    (home.outbox / "loop").symlink_to(home.outbox)
    (home.outbox / "passwd.jpg").symlink_to("/etc/passwd")
    (home.outbox / "real.jpg").write_bytes(make_photo(seed=1))

    once(home.settings, Counter(), FACTORY)

    assert home.published() == ["real.jpg"]


def test_fault_22_a_folder_exchanged_for_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outbox" / "trip").mkdir(parents=True)
    source = Source(Outbox("ada", tmp_path / "outbox"), Path("trip/a.jpg"))
    source.path.write_bytes(make_photo())
    snapshot = snapshot_of(source.path)
    assert snapshot is not None
    (tmp_path / "outbox" / "trip").rename(tmp_path / "trip")
    (tmp_path / "outbox" / "trip").symlink_to(tmp_path / "trip")

    with pytest.raises(SourceFault):
        read_source(Settled(source, snapshot))


STRANGE = [
    "%2e%2e%2fup.jpg",
    "-rf.jpg",
    "CON.jpg",
    "a:b?.jpg",
    "dot..jpg",
    "space .jpg",
    "'; rm -rf $HOME;'.jpg",
]


def test_fault_23_strange_names_stay_names_and_stay_inside(home: Home, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    for number, name in enumerate([*STRANGE, "new\nline.jpg", ".hidden.jpg"]):
        (home.outbox / name).write_bytes(make_photo(seed=number))

    result = once(home.settings, Counter(), FACTORY)

    assert home.published() == sorted(STRANGE)
    assert [photo.path.name for photo in result.held] == ["new\nline.jpg"]
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"state", ".fawkesd-staging-sync"}


def test_fault_24_a_name_that_is_no_text_is_held_and_the_watch_goes_on(
    home: Home, start: Start, eventually: Wait
) -> None:
    daemon = start(home.settings)
    eventually(lambda: "engine ready" in daemon.log)
    Path(os.fsdecode(os.fsencode(home.outbox) + b"/bad\xff.jpg")).write_bytes(make_photo())
    eventually(lambda: states(home) == ["held"])

    (home.outbox / "good.jpg").write_bytes(make_photo(seed=1))

    eventually(lambda: home.published() == ["good.jpg"])
    assert "bad\\xff.jpg" in daemon.log


def test_fault_25_the_longest_name_a_disk_takes_is_published(home: Home) -> None:
    name = "é" * 125 + ".jpg"
    assert len(name.encode()) == 254
    (home.outbox / name).write_bytes(make_photo())

    once(home.settings, Counter(), FACTORY)

    assert home.published() == [name]


def test_fault_26_names_that_are_one_elsewhere_never_take_each_others_place(home: Home) -> None:
    names = ["IMG.JPG", "img.jpg", "Caf\u00e9.jpg", unicodedata.normalize("NFD", "Caf\u00e9.jpg")]
    for number, name in enumerate(names):
        (home.outbox / name).write_bytes(make_photo(seed=number))

    once(home.settings, Counter(), FACTORY)

    assert len({twin_key(name) for name in home.published()}) == 4
    assert len({(home.sync / name).read_bytes() for name in home.published()}) == 4


def test_fault_32_a_clip_beside_a_photo_is_never_passed_and_told_of_once(
    home: Home, start: Start, eventually: Wait
) -> None:
    for number in range(3):
        (home.outbox / f"IMG_{number}.MOV").write_bytes(b"\0\0\0\x18ftypqt  " + bytes(100))
        (home.outbox / f"IMG_{number}.jpg").write_bytes(make_photo(seed=number))
    daemon = start(home.settings)
    eventually(lambda: len(home.published()) == 3)
    (home.outbox / "IMG_4.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    (home.outbox / "z.jpg").write_bytes(make_photo(seed=9))
    eventually(lambda: len(home.published()) == 4)

    assert {Path(name).suffix for name in home.published()} == {".jpg"}
    assert daemon.log.count("videos are skipped") == 1


@pytest.mark.parametrize(
    ("outbox", "sync", "staging"),
    [
        ("a", "a", None),
        ("a", "a/b", None),
        ("a/b", "a", None),
        ("a", "link to a", None),
        ("a", "c", "a/b"),
        ("a", "c", "c/d"),
    ],
)
def test_fault_36_folders_that_would_feed_one_another_are_refused(
    tmp_path: Path, outbox: str, sync: str, staging: str | None
) -> None:
    for folder in ("a/b", "c/d"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "link to a").symlink_to("a")
    user = {"name": "ada", "outboxes": [outbox], "sync": sync, "staging": staging}
    text = yaml.safe_dump({"state_dir": "state", "users": [user]})

    with pytest.raises(ConfigError):
        parse(text, tmp_path / "fawkesd.yaml")


def test_fault_42_a_result_its_owner_removed_or_changed_stays_so(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    (home.outbox / "b.jpg").write_bytes(make_photo(seed=1))
    once(home.settings, Counter(), FACTORY)
    (home.sync / "a.jpg").unlink()
    (home.sync / "b.jpg").write_bytes(b"edited")

    once(home.settings, Counter(), FACTORY)

    assert home.published() == ["b.jpg"]
    assert (home.sync / "b.jpg").read_bytes() == b"edited"


def test_fault_42_a_removed_result_is_made_again_when_its_owner_asks(home: Home) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    once(home.settings, Counter(), FACTORY)
    (home.sync / "a.jpg").unlink()
    ledger = Ledger(home.state_dir / LEDGER_NAME)
    (photo,) = ledger.in_state(State.PUBLISHED)
    ledger.move(photo, State.SUPERSEDED, Change(reason="to be made again by hand"))
    ledger.close()

    once(home.settings, Counter(), FACTORY)

    assert home.published() == ["a.jpg"]
    assert is_cloaked((home.sync / "a.jpg").read_bytes())
