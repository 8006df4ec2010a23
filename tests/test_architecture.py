"""The rules that no single module can keep: imports go down, torch stays out, one maker of `Protected`."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import daemon

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("daemon", "fawkes_engine")

# The rooms of each package, a floor a line. A room imports only from floors below its own; rooms on one floor do not
# know each other, and inside a room no imports go in a circle.
ROOMS = {
    "daemon": (
        {"__main__"},
        {"cli"},
        {"measure"},
        {"service", "doctor", "batch", "web"},
        {"cluster"},
        {"watch", "workers", "publish", "status", "control", "install"},
        {"state", "config"},
        {"sd", "fs"},
        {"exits"},
        {"model", "timing", "text", "errors"},
    ),
    "fawkes_engine": (
        {"evaluation"},
        {"decoys"},
        {"engine"},
        {"pipeline", "fingerprint"},
        {"cloak"},
        {"extractors"},
        {"face"},
        {"identity", "image", "photo", "weights", "device"},
        {"types"},
        {"modes", "unseen", "steps"},
        {"errors"},
    ),
    "fawkes_engine.evaluation": (
        {"studies"},
        {"report"},
        {"protection", "audit"},
        {"data"},
        {"trackers"},
        {"metrics"},
    ),
}
TORCH = {"torch", "torchvision", "facenet_pytorch"}
DASK = {"dask", "distributed"}  # unpickles what nodes send


def modules(package: str) -> list[Path]:
    return sorted(ROOT.joinpath(*package.split(".")).rglob("*.py"))


def dotted(path: Path) -> str:
    """A module's name; a package's is that of its __init__."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {dotted(path): path for package in PACKAGES for path in modules(package)}


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All of a module's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path: Path) -> Iterator[str]:
    """Every module that a module names in an import, also where only a type checker reads it."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield module_of(node.module, alias.name)


def module_of(package: str, name: str) -> str:
    """The module that `from package import name` reads."""
    if f"{package}.{name}" in MODULES:
        return f"{package}.{name}"
    if f"{package}.{name}.__init__" in MODULES:
        return f"{package}.{name}.__init__"
    return package if package in MODULES else f"{package}.__init__"


def room(module: str, package: str) -> str | None:
    """The room of a package that a module is in; None outside the package and for the package itself."""
    if module == f"{package}.__init__" or not module.startswith(f"{package}."):
        return None
    return module.removeprefix(f"{package}.").split(".")[0]


def floor(name: str, package: str) -> int:
    return next(number for number, rooms in enumerate(ROOMS[package]) if name in rooms)


def test_daemon_is_this_package_and_not_python_daemons() -> None:
    assert Path(daemon.__file__).parent == ROOT / "daemon"


@pytest.mark.parametrize("path", modules("fawkes_engine"), ids=dotted)
def test_the_engine_knows_nothing_of_the_service(path: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(path)}

    assert not tops & {"daemon", "watchdog", "yaml", "pydantic", "sqlite3", "systemd", "typer"}


@pytest.mark.parametrize("package", ROOMS)
def test_every_module_has_a_room_and_every_room_a_module(package: str) -> None:
    found = {room(module, package) for module in MODULES} - {None}

    assert found == set().union(*ROOMS[package])


@pytest.mark.parametrize("package", ROOMS)
def test_imports_between_rooms_go_down(package: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for module, path in MODULES.items()
        for name in imports(path)
        if (above := room(module, package)) and (below := room(name, package)) and above != below
        if floor(below, package) <= floor(above, package)
    ]

    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_no_imports_go_in_a_circle(package: str) -> None:
    below = {
        module: {name for name in imports(path) if name in MODULES and not name.endswith("__init__")}
        for module, path in MODULES.items()
        if module.startswith(package)
    }

    graphlib.TopologicalSorter(below).prepare()


def test_a_room_is_a_package_that_hands_nothing_on() -> None:
    """An import in a room's __init__ would bring torch wherever one small module of the room is wanted."""
    public = {
        "fawkes_engine",
        "fawkes_engine.evaluation",
        "fawkes_engine.evaluation.studies",
        "fawkes_engine.extractors",
    }
    for package in PACKAGES:
        for path in modules(package):
            init = path.with_name("__init__.py")
            assert init.exists(), f"{path.parent} is not in the wheel"
            if ".".join(path.parent.relative_to(ROOT).parts) not in public:
                assert not list(imports(init))


LONG_MODULES = {"daemon.config.settings"}  # each says in its docstring why it is long


def test_modules_fit_a_reader() -> None:
    longer = {module for module, path in MODULES.items() if len(path.read_text().splitlines()) > 250}

    assert longer <= LONG_MODULES


def test_classes_fit_a_reader() -> None:
    larger = [
        f"{module}.{node.name}"
        for module, path in MODULES.items()
        for node in nodes(path)
        if isinstance(node, ast.ClassDef)
        and sum(isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body) > 15
    ]

    assert not larger


def test_the_supervisor_never_imports_torch_or_dask() -> None:
    program = (
        "import sys, daemon.service.run, daemon.status.status; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()

    assert not (TORCH | DASK) & set(loaded)


def test_no_host_of_a_package_registry_is_named() -> None:
    """A package is named as its client names it, so that the user's own mirrors and proxies are asked."""
    names = ("pypi org", "pythonhosted org", "download pytorch org", "npmjs org", "npmjs com", "anaconda org")
    hosts = "|".join(name.replace(" ", r"\.") for name in names)  # in pieces: this file is searched, too
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    texts = {file: file.read_bytes() for file in files if file.is_file()}

    assert not [file for file, data in texts.items() if re.search(hosts.encode(), data, re.IGNORECASE)]


def test_only_the_engine_makes_a_protected_photo() -> None:
    makers = set()
    for path in MODULES.values():
        for node in nodes(path):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Protected"
            ):
                makers.add(dotted(path))

    # The cache makes again what the engine made, and its keyed checksum proves it. What a node returned is only a claim
    # until `daemon.cluster.engine` has had it inspected.
    assert makers <= {"fawkes_engine.engine", "daemon.state.result_cache", "daemon.cluster.wire"}
