"""Results that wait for their disk: found again only whole, and only for the engine that made them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import TinyEngine, make_photo, protected

from daemon.model import Outbox, Photo, Snapshot, Source, State
from daemon.state.result_cache import ResultCache

RESULT = protected(make_photo())
CONTENT = "0" * 64
PHOTO = Photo(
    id=1,
    source=Source(Outbox("ada", Path("/out")), Path("a.jpg")),
    generation=1,
    state=State.WORKING,
    snapshot=Snapshot(1, 2, 3, 4, 5),
    attempts=0,
    alone=False,
    engine_deaths=0,
    input_sha256=CONTENT,
    output=None,
    reason=None,
    options="without the place",
)


@pytest.fixture
def results(tmp_path: Path) -> ResultCache:
    return ResultCache(tmp_path / "results", b"key")


def test_a_kept_result_is_found_by_user_content_options_and_engine(results: ResultCache) -> None:
    results.keep(PHOTO, RESULT)

    assert results.find(PHOTO, TinyEngine.fingerprint) == RESULT
    for other in (
        replace(PHOTO, source=Source(Outbox("bob", Path("/out")), Path("a.jpg"))),
        replace(PHOTO, input_sha256="1" * 64),
        replace(PHOTO, options="with the place"),
    ):
        assert results.find(other, TinyEngine.fingerprint) is None
    assert results.find(PHOTO, "another engine") is None


def test_a_result_that_another_ledger_kept_is_none_of_this_one(results: ResultCache, tmp_path: Path) -> None:
    results.keep(PHOTO, RESULT)

    assert ResultCache(tmp_path / "results", b"other").find(PHOTO, TinyEngine.fingerprint) is None


def test_a_result_under_another_photos_name_is_not_taken_for_it(results: ResultCache, tmp_path: Path) -> None:
    other = replace(PHOTO, input_sha256="1" * 64)
    results.keep(PHOTO, RESULT)
    (path,) = (tmp_path / "results").iterdir()
    path.rename(path.with_name(f"ada-{other.input_sha256}"))

    assert results.find(other, TinyEngine.fingerprint) is None


def test_kept_results_are_private_and_hold_no_program(results: ResultCache, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir(mode=0o777)
    (tmp_path / "results").chmod(0o777)
    results.keep(PHOTO, RESULT)

    assert (tmp_path / "results").stat().st_mode & 0o077 == 0
    (path,) = (tmp_path / "results").iterdir()
    head, _, data = path.read_bytes()[32:].partition(b"\n")
    assert json.loads(head)["suffix"] == RESULT.suffix
    assert data == RESULT.data


def test_a_dropped_result_is_gone(results: ResultCache) -> None:
    results.keep(PHOTO, RESULT)
    results.drop(PHOTO)

    assert results.find(PHOTO, TinyEngine.fingerprint) is None


def test_a_sweep_leaves_nothing_that_nobody_waits_for(results: ResultCache, tmp_path: Path) -> None:
    results.keep(PHOTO, RESULT)
    results.sweep([])

    assert list((tmp_path / "results").iterdir()) == []


def test_without_room_for_the_ledger_nothing_is_kept(
    results: ResultCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.state.result_cache._LEFT_FOR_THE_LEDGER_BYTES", 1 << 60)
    results.keep(PHOTO, RESULT)

    assert results.find(PHOTO, TinyEngine.fingerprint) is None


@given(damage=st.binary(max_size=20), part=st.floats(0.0, 0.99))
def test_a_damaged_file_is_no_result(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, part: float
) -> None:
    folder = tmp_path_factory.mktemp("results")
    results = ResultCache(folder, b"key")
    results.keep(PHOTO, RESULT)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))] + damage)

    assert results.find(PHOTO, TinyEngine.fingerprint) in (None, RESULT)
