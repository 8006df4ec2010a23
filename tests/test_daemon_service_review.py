"""Review before publishing: the real service with the tiny engine, and what a person decides."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DaemonProcess, Home
from faulty import FACTORY, Counter, column, engine_works, states
from twins import Deed, TinyEngine, is_cloaked, make_photo

from daemon.cli.main import run_command
from daemon.config.settings import EngineConfig, HookSettings
from daemon.control import client
from daemon.control.decisions import Approve, ApproveAll, Recall, Reject
from daemon.service.run import once
from daemon.state.history import reading
from daemon.state.ledger import Ledger
from daemon.state.result_cache import ResultCache
from daemon.state.schema import LEDGER_NAME
from fawkes_engine import EngineSettings, Protected, Refusal, Request, Step

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]
Output = pytest.CaptureFixture[str]


class LaterEngine(TinyEngine):
    """The tiny engine after an update."""

    fingerprint = "tiny-2"

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> list[Protected | Refusal]:
        results = super().protect(requests, on_step=on_step)
        made = [one for one in results if isinstance(one, Protected)]
        return [replace(one, report=replace(one.report, fingerprint=self.fingerprint)) for one in made]


def make_later_engine(_settings: EngineSettings, _targets_dir: Path) -> TinyEngine:
    return LaterEngine()


def reviewing(home: Home, *, review: bool = True, **values: object) -> Home:
    """The same home, whose person looks at photos before they are published. values: other keys of the user."""
    (user,) = home.settings.users
    users = (user.model_copy(update={"review": review, **values}),)
    return replace(home, settings=home.settings.model_copy(update={"users": users}))


@pytest.fixture
def reviewed(home: Home) -> Home:
    return reviewing(home)


def fawkesd(home: Home, *arguments: str | Path) -> int:
    return run_command([*map(str, arguments), "-c", str(home.write_config())])


def work(home: Home, factory: str = FACTORY) -> int:
    """Process what waits, as `fawkesd once` does; returns how many photos were published."""
    return once(home.settings, Counter(), factory).published


def photo(home: Home, name: str = "a.jpg", deed: Deed = Deed.PROTECT, seed: int = 0) -> Path:
    path = home.outbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make_photo(deed, seed))
    return path


def results(home: Home) -> list[Path]:
    """The files of the results that are kept."""
    folder = home.state_dir / "results"
    return list(folder.iterdir()) if folder.exists() else []


def test_a_finished_photo_waits_and_is_published_once_it_is_approved(reviewed: Home, capsys: Output) -> None:
    path = photo(reviewed)

    found = once(reviewed.settings, Counter(), FACTORY)

    assert (found.published, found.held, found.review) == (0, (), 1)
    assert (states(reviewed), reviewed.published()) == (["review"], [])
    assert list(reviewed.settings.users[0].staging_dir.iterdir()) == [
        reviewed.settings.users[0].staging_dir / "lock"
    ]
    assert fawkesd(reviewed, "approve", path) == 0
    assert capsys.readouterr().out == f"{path}: will be published\n"
    assert (work(reviewed), states(reviewed), reviewed.published()) == (1, ["published"], ["a.jpg"])
    assert is_cloaked((reviewed.sync / "a.jpg").read_bytes())
    assert results(reviewed) == []


def test_exactly_the_result_that_was_shown_is_published_by_a_running_service(
    reviewed: Home, start: Start, eventually: Wait
) -> None:
    daemon = start(reviewed.settings)
    path = photo(reviewed)
    eventually(lambda: states(reviewed) == ["review"])
    with reading(reviewed.state_dir) as history:
        (record,) = history.of_output("ada", Path("a.jpg")) or history.newest()
        shown = ResultCache.of(reviewed.state_dir, history.facts).waiting(record.photo)
    assert shown is not None
    assert record.photo.result_sha256 == shown.sha256

    assert client.run(reviewed.state_dir, Approve(ids=(record.photo.id,))).code == 0

    eventually(lambda: reviewed.published() == ["a.jpg"])
    assert (reviewed.sync / "a.jpg").read_bytes() == shown.data
    assert engine_works(daemon) == 1
    assert path.exists()


def test_photos_are_approved_all_at_once_or_of_one_user(reviewed: Home, capsys: Output) -> None:
    for seed in range(3):
        photo(reviewed, f"{seed}.jpg", seed=seed)
    work(reviewed)

    assert fawkesd(reviewed, "approve", "--all", "--user", "ada") == 0
    assert capsys.readouterr().out == "3 photo(s) will be published\n"
    assert fawkesd(reviewed, "approve", "--all") == 0
    assert capsys.readouterr().out == "0 photo(s) will be published\n"
    assert work(reviewed) == 3
    for wrong in (["--all", "--user", "bob"], ["--user", "ada", "a.jpg"], ["--all", "a.jpg"], []):
        assert fawkesd(reviewed, "approve", *wrong) == 64


def test_a_rejected_photo_stays_away_until_it_is_approved(reviewed: Home, capsys: Output) -> None:
    path = photo(reviewed)
    work(reviewed)

    assert fawkesd(reviewed, "reject", path) == 0
    assert (work(reviewed), states(reviewed), reviewed.published()) == (0, ["rejected"], [])
    assert fawkesd(reviewed, "held") == 0
    assert "a.jpg: rejected" in capsys.readouterr().out
    assert fawkesd(reviewed, "approve", path) == 0
    assert (work(reviewed), reviewed.published()) == (1, ["a.jpg"])


@pytest.mark.parametrize("decision", ["reject", "nothing yet"])
def test_redo_makes_a_photo_again_that_was_not_published(reviewed: Home, decision: str) -> None:
    path = photo(reviewed)
    work(reviewed)
    if decision == "reject":
        fawkesd(reviewed, "reject", path)
    (kept,) = results(reviewed)

    assert fawkesd(reviewed, "redo", path) == 0

    assert not kept.exists()  # else it would be found again, and nothing be made
    assert (work(reviewed), states(reviewed)) == (0, ["superseded", "review"])


def test_a_copy_of_a_rejected_photo_is_rejected_too(reviewed: Home) -> None:
    path = photo(reviewed)
    work(reviewed)
    fawkesd(reviewed, "reject", path)
    photo(reviewed, "again.jpg")

    assert (work(reviewed), states(reviewed)) == (0, ["rejected", "rejected"])
    assert column(reviewed, "reason") == ["rejected by hand", f"the same photo was rejected as {path}"]


def test_what_was_rejected_before_it_was_cloaked_has_nothing_to_approve(
    reviewed: Home, capsys: Output
) -> None:
    path = photo(reviewed)
    work(reviewed)
    fawkesd(reviewed, "reject", path)
    photo(reviewed, seed=1)
    unseen = reviewing(reviewed, review=False)
    work(unseen)
    assert states(unseen) == ["superseded", "rejected"]

    assert fawkesd(unseen, "approve", path) == 66
    assert "rejected before it was cloaked; `redo` cloaks it" in capsys.readouterr().err
    fawkesd(unseen, "why", path)
    assert "it stays away until `fawkesd redo`" in capsys.readouterr().out
    assert fawkesd(unseen, "redo", path) == 0
    assert (work(unseen), unseen.published()) == (1, ["a.jpg"])


@pytest.mark.parametrize("before", ["held", "published"])
def test_rejected_bytes_stay_away_from_a_name_that_had_others(reviewed: Home, before: str) -> None:
    path = photo(reviewed)
    work(reviewed)
    fawkesd(reviewed, "reject", path)
    unseen = reviewing(reviewed, review=False)
    photo(unseen, "b.jpg", Deed.REFUSE if before == "held" else Deed.PROTECT, seed=1)
    work(unseen)
    assert column(unseen, "state", "path = CAST('b.jpg' AS BLOB)") == [before]

    photo(unseen, "b.jpg")

    assert work(unseen) == 0
    assert column(unseen, "state", "path = CAST('b.jpg' AS BLOB)") == ["superseded", "rejected"]


def test_no_other_result_is_approved_than_the_one_that_was_looked_at(reviewed: Home) -> None:
    photo(reviewed)
    work(reviewed)
    (shown,) = column(reviewed, "result_sha256")

    reply = client.run(reviewed.state_dir, Approve(ids=(1,), result="0" * 64))

    assert (reply.code, states(reviewed)) == (66, ["review"])
    assert "was made again meanwhile" in reply.message
    assert client.run(reviewed.state_dir, Approve(ids=(1,), result=shown)).code == 0
    assert states(reviewed) == ["ready"]


def test_what_came_later_is_not_approved_with_all_that_was_shown(reviewed: Home) -> None:
    photo(reviewed)
    work(reviewed)
    (shown,) = column(reviewed, "updated")
    photo(reviewed, "b.jpg", seed=1)
    work(reviewed)

    reply = client.run(reviewed.state_dir, ApproveAll(until=shown))

    assert reply.message == "1 photo(s) will be published"
    assert states(reviewed) == ["ready", "review"]


def test_one_of_two_copies_is_rejected_and_the_other_approved(reviewed: Home) -> None:
    first, second = photo(reviewed), photo(reviewed, "b.jpg")
    work(reviewed)
    assert states(reviewed) == ["review", "review"]

    fawkesd(reviewed, "reject", first)
    fawkesd(reviewed, "approve", second)

    assert (work(reviewed), reviewed.published()) == (1, ["b.jpg"])
    assert len(results(reviewed)) == 1  # the rejected one may still be approved
    fawkesd(reviewed, "approve", first)
    assert (work(reviewed), reviewed.published()) == (1, ["a.jpg", "b.jpg"])


def test_a_rejected_photo_that_is_written_again_is_shown_again(reviewed: Home) -> None:
    path = photo(reviewed)
    work(reviewed)
    fawkesd(reviewed, "reject", path)

    photo(reviewed, seed=1)
    work(reviewed)
    assert states(reviewed) == ["superseded", "review"]
    fawkesd(reviewed, "reject", path)
    photo(reviewed, seed=2)

    assert work(reviewing(reviewed, review=False)) == 0  # nobody would see it
    assert (states(reviewed)[-1], reviewed.published()) == ("rejected", [])


def test_a_source_that_changed_invalidates_what_waits_and_what_was_approved(reviewed: Home) -> None:
    path = photo(reviewed)
    work(reviewed)
    photo(reviewed, seed=1)
    work(reviewed)
    assert states(reviewed) == ["superseded", "review"]
    fawkesd(reviewed, "approve", path)

    photo(reviewed, seed=2)

    assert (work(reviewed), reviewed.published()) == (0, [])
    assert states(reviewed) == ["superseded", "superseded", "review"]


@pytest.mark.parametrize("is_approved", [True, False])
def test_a_source_that_vanished_is_not_published(reviewed: Home, is_approved: bool) -> None:
    path = photo(reviewed)
    photo(reviewed, "b.jpg", seed=1)  # the outbox is not empty, which would be an unplugged drive
    work(reviewed)
    if is_approved:
        fawkesd(reviewed, "approve", path)
    path.unlink()

    assert (work(reviewed), reviewed.published()) == (0, [])
    assert sorted(states(reviewed)) == ["gone", "review"]


def test_a_lost_or_damaged_result_is_made_again_and_shown_again(reviewed: Home) -> None:
    first, second = photo(reviewed), photo(reviewed, "b.jpg", seed=1)
    work(reviewed)
    lost, damaged = results(reviewed)
    lost.unlink()
    work(reviewed)
    assert states(reviewed) == ["review", "review"]
    assert lost.exists()

    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    fawkesd(reviewed, "approve", first, second)

    assert work(reviewed) == 1
    assert sorted(states(reviewed)) == ["published", "review"]


def test_another_engine_makes_again_what_waits(reviewed: Home) -> None:
    path = photo(reviewed)
    photo(reviewed, "b.jpg", seed=1)
    work(reviewed)
    fawkesd(reviewed, "approve", path)
    photo(reviewed, "c.jpg", seed=2)

    later = "test_daemon_service_review:make_later_engine"

    assert (work(reviewed, later), states(reviewed), reviewed.published()) == (0, ["review"] * 3, [])
    made_by = column(reviewed, "json_extract(report, '$.fingerprint')")
    assert made_by == ["tiny-2"] * 3


def test_other_settings_of_the_user_make_again_what_was_approved(reviewed: Home) -> None:
    path = photo(reviewed)
    work(reviewed)
    fawkesd(reviewed, "approve", path)

    assert work(reviewing(reviewed, faces="mine")) == 0
    assert (states(reviewed), reviewed.published()) == (["review"], [])


def test_photos_in_review_wait_on_when_the_setting_is_gone(reviewed: Home) -> None:
    photo(reviewed)
    work(reviewed)

    assert (work(reviewing(reviewed, review=False)), states(reviewed)) == (0, ["review"])


def test_a_full_state_folder_loses_nothing_and_asks_no_engine(
    reviewed: Home, start: Start, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(reviewed)
    with monkeypatch.context() as patch:
        patch.setattr("daemon.state.result_cache._LEFT_FOR_THE_LEDGER_BYTES", 1 << 60)
        once_until_later(reviewed, eventually)
    assert (states(reviewed), reviewed.published(), results(reviewed)) == (["ready"], [], [])
    assert "no room" in column(reviewed, "reason")[0]

    fawkesd(reviewed, "retry", "--all")

    assert (work(reviewed), states(reviewed)) == (0, ["review"])


def once_until_later(home: Home, eventually: Wait) -> None:
    """Run until the photo has to wait; a signal ends `once`, which would wait with it."""
    import signal
    import threading

    def stop() -> None:
        eventually(lambda: column(home, "reason") not in ([], [None]))
        os.kill(os.getpid(), signal.SIGTERM)

    waiter = threading.Thread(target=stop)
    waiter.start()
    work(home)
    waiter.join()


def test_an_approved_photo_waits_for_no_engine_that_is_busy(
    reviewed: Home, start: Start, eventually: Wait
) -> None:
    path = photo(reviewed)
    daemon = start(reviewed.settings)
    eventually(lambda: states(reviewed) == ["review"])
    photo(reviewed, "endless.jpg", Deed.HANG)
    eventually(lambda: engine_works(daemon) == 2)

    assert fawkesd(reviewed, "approve", path) == 0

    eventually(lambda: reviewed.published() == ["a.jpg"], within_s=15.0)  # the engine hangs for 20
    assert "no progress" not in daemon.log


def test_what_is_out_already_needs_no_second_review(reviewed: Home) -> None:
    path = photo(reviewed)
    work(reviewed)
    fawkesd(reviewed, "approve", path)
    work(reviewed)

    path.rename(reviewed.outbox / "b.jpg")

    assert (work(reviewed), reviewed.published()) == (1, ["b.jpg"])


def test_each_photo_is_answered_for_itself(reviewed: Home) -> None:
    photo(reviewed)
    photo(reviewed, "b.jpg", Deed.REFUSE)
    work(reviewed)

    reply = client.run(reviewed.state_dir, Approve(ids=(1, 2, 99)))

    a, b = reviewed.outbox / "a.jpg", reviewed.outbox / "b.jpg"
    assert reply.code == 66
    assert sorted(reply.message.splitlines()) == sorted(
        [
            f"{a}: will be published",
            f"{b} is held; `approve` is for photos that wait for review or were rejected",
            "photo 99 is not known",
        ]
    )
    assert sorted(states(reviewed)) == ["held", "ready"]
    assert client.run(reviewed.state_dir, Approve()).code == 66
    assert client.run(reviewed.state_dir, Reject(photos=(a,))).code == 0
    assert sorted(states(reviewed)) == ["held", "rejected"]
    assert client.run(reviewed.state_dir, Recall(photos=(b,))).code == 66


def test_what_waits_is_told(reviewed: Home, capsys: Output) -> None:
    first, second = photo(reviewed), photo(reviewed, "b.jpg", seed=1)
    work(reviewed)
    fawkesd(reviewed, "reject", second)
    capsys.readouterr()

    assert fawkesd(reviewed, "status", "--json") == 0
    (user,) = json.loads(capsys.readouterr().out)["users"]
    assert (user["review"], user["rejected"], user["waiting"], user["held"]) == (1, 1, 0, [])
    fawkesd(reviewed, "status")
    told = capsys.readouterr().out
    assert "1 in review: `fawkesd held` lists them, `fawkesd approve` publishes them" in told
    assert "1 rejected" in told
    assert fawkesd(reviewed, "held") == 1
    told = capsys.readouterr().out
    assert f"{first}: review" in told
    assert f"{second}: rejected" in told
    fawkesd(reviewed, "why", first)
    assert "it waits for review: `fawkesd approve` publishes it" in capsys.readouterr().out
    fawkesd(reviewed, "why", second)
    assert "it stays away until `fawkesd approve`" in capsys.readouterr().out
    fawkesd(reviewed, "history")
    assert ": review " in capsys.readouterr().out


def test_a_program_hears_of_photos_in_review(reviewed: Home, tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = ("sh", "-c", f'echo "$FAWKESD_EVENT $FAWKESD_PHOTO" >> {told}')
    settings = reviewed.settings.model_copy(update={"hooks": HookSettings(on_review=command)})
    path = photo(reviewed)

    once(settings, Counter(), FACTORY)

    assert told.read_text() == f"review {path}\n"


def test_approval_does_not_wait_for_the_end_of_quiet_hours(
    reviewed: Home, start: Start, eventually: Wait
) -> None:
    path = photo(reviewed)
    work(reviewed)
    quiet = EngineConfig(quiet_hours="00:00-23:59", photo_timeout_s=20.0)
    start(reviewed.settings.model_copy(update={"engine": quiet}))

    assert fawkesd(reviewed, "approve", path) == 0

    eventually(lambda: reviewed.published() == ["a.jpg"])


def test_a_ledger_of_the_version_before_opens_and_knows_what_was_held_for_no_face(tmp_path: Path) -> None:
    import sqlite3

    from daemon.state.schema import MIGRATIONS

    database = sqlite3.connect(tmp_path / LEDGER_NAME)
    for statements in MIGRATIONS[:6]:
        for statement in statements:
            database.execute(statement)
    database.execute("PRAGMA user_version = 6")
    row = "(user, root, path, generation, state, dev, ino, size, mtime_ns, created, updated, reason)"
    for number, reason in enumerate(("no face was found, so nothing was cloaked", "the file is damaged")):
        values = ("ada", b"/out", b"%d.jpg" % number, 1, "held", 1, 1, 1, 1, 1.0, 1.0, reason)
        database.execute(f"INSERT INTO photos {row} VALUES ({', '.join('?' * 12)})", values)
    database.commit()
    database.close()

    ledger = Ledger(tmp_path / LEDGER_NAME)
    ledger.close()

    with reading(tmp_path) as history:
        found = {record.photo.reason: record.photo.no_face for record in history.newest()}
    assert [value and value.value for value in found.values()] == [None, "hold"]


def test_a_photo_without_a_face_is_published_by_hand(home: Home, capsys: Output) -> None:
    path, weak = photo(home, deed=Deed.REFUSE), photo(home, "b.jpg", Deed.CLOAK_TOO_WEAKLY)
    work(home)
    assert sorted(states(home)) == ["held", "held"]
    fawkesd(home, "why", path)
    assert "if there is no face in it, `fawkesd publish`" in capsys.readouterr().out

    assert fawkesd(home, "publish", path) == 0
    assert capsys.readouterr().out == f"{path}: will be published, although no face was found\n"
    assert fawkesd(home, "publish", weak) == 66
    assert f"{weak} is held for another reason" in capsys.readouterr().err

    assert (work(home), home.published()) == (1, ["a.jpg"])
    photo(home, deed=Deed.REFUSE, seed=1)  # nobody has looked at this one
    assert work(home) == 0
    assert sorted(states(home)) == ["held", "held", "superseded"]


def test_a_photo_without_a_face_is_looked_at_like_any_other(reviewed: Home) -> None:
    path = photo(reviewed, deed=Deed.REFUSE)
    work(reviewed)

    fawkesd(reviewed, "publish", path)

    assert (work(reviewed), states(reviewed), reviewed.published()) == (0, ["review"], [])
