"""A progress bar with the time that is left, on stderr, shown to a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar that counts photos; it is the `Progress` that `service.once` takes."""

    _progress: Progress
    _task: TaskID

    def total(self, n: int) -> None:
        """So many will be handled."""
        self._progress.update(self._task, total=n)

    def advance(self, n: int = 1) -> None:
        """So many more have come to their end."""
        self._progress.advance(self._task, n)


@contextmanager
def bar(label: str) -> Iterator[Bar]:
    """Show a bar for the time of a with block; lines printed meanwhile appear above it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # a stdout that goes elsewhere must not be drawn into the terminal of stderr
    progress = Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
        redirect_stdout=sys.stdout.isatty(),
    )
    with progress:
        yield Bar(progress, progress.add_task(label, total=None))
