"""A progress bar with the remaining time, on stderr, shown only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar that counts photos; it is the `Progress` that `service.once` takes."""

    _progress: Progress
    _task: TaskID

    def doing(self, words: str) -> None:
        """Show what is being done, so that a bar which stands still is seen to work."""
        self._progress.update(self._task, description=words)

    def total(self, n: int) -> None:
        """Set the number of photos."""
        self._progress.update(self._task, total=n)

    def advance(self, n: int = 1) -> None:
        """Count n more photos as done."""
        self._progress.advance(self._task, n)


@contextmanager
def bar(label: str) -> Iterator[Bar]:
    """Show a bar during a with block; lines printed meanwhile appear above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # rich must not write a redirected stdout to the terminal of stderr
    progress = Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=sys.stderr is None or not sys.stderr.isatty(),
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )
    with progress:
        yield Bar(progress, progress.add_task(label, total=None))
