"""The rules that no single module can keep: imports go down, torch stays out, one maker of `Protected`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import daemon

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("daemon", "fawkes_engine")

# Each line may import from itself and from the lines below it.
LAYERS = (
    {"__main__"},
    {"cli"},
    {
        "cliaudit",
        "clibench",
        "clicontrol",
        "clievaluate",
        "climodels",
        "clipeople",
        "cliphotos",
        "cliservice",
        "clisybil",
    },
    {"showphoto", "showbench", "doctor"},
    {"audit"},
    {"audithtml"},
    {"audittext", "sybil"},
    {"auditorder"},
    {"doctorfolders", "doctordeep"},
    {"bench"},
    {"clicommon", "init", "cloak", "evaluate", "show", "progress", "service", "status", "study", "why"},
    {"benchengine", "benchphotos", "places", "installer", "ownphotos", "supervisor"},
    {"fit"},
    {"unit"},
    {"history", "caller", "notices", "notify"},
    {"hooks"},
    {"dispatch", "intake", "reference", "control"},
    {"endings"},
    {"lanes", "watcher", "readiness", "containers", "pool", "roots", "results"},
    {"engineprocess"},
    {"publisher", "child"},
    {"syncfolder", "worker"},
    {"orders"},
    {"shelf"},
    {"configuration"},
    {"crosschecks"},
    {"ledger", "locks", "targets", "settings", "exits", "atomic", "journal"},
    {"checks", "complaints", "findings"},
    {"bell", "files", "names", "schema", "yamltext", "kernel", "pauses", "quiet"},
    {"model", "errors", "facts", "system"},
)
TORCH = {"torch", "torchvision", "facenet_pytorch"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Everything a module imports when it runs; what only a type checker reads does not count."""
    tree = ast.parse(path.read_text())
    typing_only = [
        block
        for block in tree.body
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
    ]
    unseen = {id(node) for block in typing_only for node in ast.walk(block)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and id(node) not in unseen:
            whole = node.module in PACKAGES
            found |= {f"{node.module}.{alias.name}" if whole else node.module for alias in node.names}
    return found


def level(module: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if module in layer)


def test_daemon_is_this_package_and_not_python_daemons() -> None:
    assert Path(daemon.__file__).parent == ROOT / "daemon"


@pytest.mark.parametrize("path", modules("fawkes_engine"), ids=lambda path: path.stem)
def test_the_engine_knows_nothing_of_the_service(path: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(path)}

    assert not tops & {"daemon", "watchdog", "yaml", "pydantic", "sqlite3", "systemd", "typer"}


@pytest.mark.parametrize("path", modules("daemon"), ids=lambda path: path.stem)
def test_imports_go_down(path: Path) -> None:
    for name in imports(path):
        package, _, module = name.partition(".")
        if package == "daemon" and module and path.stem != "__init__":
            assert level(module) >= level(path.stem), f"{path.stem} imports {module} from above"


def test_the_supervisor_never_imports_torch() -> None:
    program = (
        "import sys, daemon.service, daemon.status; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()

    assert not TORCH & set(loaded)


def test_only_the_engine_makes_a_protected_photo() -> None:
    makers = set()
    for path in (path for package in PACKAGES for path in modules(package)):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Protected"
            ):
                makers.add(f"{path.parent.name}/{path.name}")

    assert makers <= {"fawkes_engine/engine.py"}
