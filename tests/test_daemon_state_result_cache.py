"""Results that wait for their disk: found again only whole, and only for the engine that made them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import TinyEngine, make_photo, protected

from daemon.state.result_cache import ResultCache

RESULT = protected(make_photo())
CONTENT = "0" * 64


@pytest.fixture
def results(tmp_path: Path) -> ResultCache:
    return ResultCache(tmp_path / "results")


def test_a_kept_result_is_found_by_user_content_and_engine(results: ResultCache) -> None:
    results.keep("ada", CONTENT, RESULT)

    assert results.find("ada", CONTENT, TinyEngine.fingerprint) == RESULT
    assert results.find("bob", CONTENT, TinyEngine.fingerprint) is None
    assert results.find("ada", "1" * 64, TinyEngine.fingerprint) is None
    assert results.find("ada", CONTENT, "another engine") is None


def test_a_dropped_result_is_gone(results: ResultCache) -> None:
    results.keep("ada", CONTENT, RESULT)
    results.drop("ada", CONTENT)

    assert results.find("ada", CONTENT, TinyEngine.fingerprint) is None


def test_a_sweep_leaves_nothing_that_nobody_waits_for(results: ResultCache, tmp_path: Path) -> None:
    results.keep("ada", CONTENT, RESULT)
    results.sweep([])

    assert list((tmp_path / "results").iterdir()) == []


def test_without_room_for_the_ledger_nothing_is_kept(
    results: ResultCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.state.result_cache._LEFT_FOR_THE_LEDGER_BYTES", 1 << 60)
    results.keep("ada", CONTENT, RESULT)

    assert results.find("ada", CONTENT, TinyEngine.fingerprint) is None


@given(damage=st.binary(max_size=20), part=st.floats(0.0, 0.99))
def test_a_damaged_file_is_no_result(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, part: float
) -> None:
    folder = tmp_path_factory.mktemp("results")
    results = ResultCache(folder)
    results.keep("ada", CONTENT, RESULT)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))] + damage)

    assert results.find("ada", CONTENT, TinyEngine.fingerprint) in (None, RESULT)
