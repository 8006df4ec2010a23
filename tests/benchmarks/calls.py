"""How much the daemon does around the engine for one photo: calls between its modules, and SQL statements.

    python -m tests.benchmarks.calls [--by-pair]

Two runs of `once` with the tests' tiny engine, of one photo and of six; what a photo costs is a fifth of the
difference, so that what a run does once does not count. A call counts when a function of one module of `daemon` is
entered (or a generator is resumed) while the nearest function of `daemon` below it on the stack is another module's.
SQL statements are those of the ledger's connection, BEGIN and COMMIT too; each of them is a call as well.
"""

from __future__ import annotations

import argparse
import collections
import logging
import sys
import tempfile
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[1]))  # the engine's process imports the tests' twins by name

import twins

from daemon.config.settings import Settings, UserSettings, WatchSettings
from daemon.service import run
from daemon.state.schema import LedgerConnection

PHOTOS = 6
SQL = ("", "SQL")
Calls = collections.Counter[tuple[str, str]]


class Nobody:
    """Watches no progress."""

    def total(self, n: int) -> None:
        """Ignored."""

    def advance(self, n: int = 1) -> None:
        """Ignored."""


def main() -> None:
    """Measure, and print the figures of one photo."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--by-pair", action="store_true", help="also every pair of modules")
    by_pair = parser.parse_args().by_pair
    logging.disable()
    few, many = measured(1), measured(PHOTOS)
    each = {pair: (count - few[pair]) / (PHOTOS - 1) for pair, count in many.items()}
    print(f"SQL statements per photo: {each.pop(SQL):.1f}")
    print(f"calls between modules per photo: {sum(each.values()):.1f}")
    for (caller, callee), count in sorted(each.items(), key=lambda item: -item[1]) if by_pair else ():
        if count:
            print(f"{count:6.1f}  {caller} -> {callee}")


def measured(photos: int) -> Calls:
    """The calls from one module into another, and under `SQL` the statements, of `once` with so many photos."""
    calls: Calls = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = _home(Path(folder), photos)
        sys.setprofile(lambda frame, event, _: _count(frame, calls) if event == "call" else None)
        try:
            result = run.once(settings, Nobody(), "twins:make_engine")
        finally:
            sys.setprofile(None)
    assert result.published == photos
    return calls


def _home(folder: Path, photos: int) -> Settings:
    outbox, sync = folder / "outbox", folder / "sync"
    outbox.mkdir()
    sync.mkdir()
    for number in range(photos):
        (outbox / f"{number}.png").write_bytes(twins.make_photo(seed=number, file_format="PNG"))
    return Settings(
        state_dir=folder / "state",
        users=(UserSettings(name="ada", outboxes=(outbox,), sync=sync),),
        watch=WatchSettings(settle_s=0.1),
    )


def _count(frame: FrameType, calls: Calls) -> None:
    if (callee := _module(frame)) is None:
        return
    calls[SQL] += frame.f_code is LedgerConnection.execute.__code__
    below = frame.f_back
    while below is not None and (caller := _module(below)) is None:
        below = below.f_back
    if below is not None and caller is not None and caller != callee:
        calls[caller, callee] += 1


def _module(frame: FrameType) -> str | None:
    """The module of `daemon` that a frame is in; None elsewhere, and in what dataclasses generate."""
    name = frame.f_globals.get("__name__", "")
    return name if name.startswith("daemon.") and not frame.f_code.co_filename.startswith("<") else None


if __name__ == "__main__":
    main()
