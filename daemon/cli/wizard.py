"""Interactive setup: asks for names and folders, offers to create folders, writes a commented configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from daemon.config import reference
from daemon.config.loader import parse
from daemon.config.settings import Settings
from daemon.errors import OutputError
from daemon.fs import atomic
from daemon.fs.absence import unmounted


@dataclass(frozen=True, slots=True)
class Answers:
    """The values every configuration needs; None and () are not answered yet."""

    user: str | None
    outboxes: tuple[Path, ...]
    sync: Path | None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to ask."""
        return bool(self.user and self.outboxes and self.sync)

    def folders(self) -> Iterator[Path]:
        """Every folder in the answers, absolute."""
        for folder in (*self.outboxes, *([self.sync] if self.sync else [])):
            yield folder.expanduser().absolute()


def ensure_new(path: Path, *, force: bool) -> None:
    """Raise OutputError if the file exists; called before any question, so that no answer is lost."""
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; edit it, or replace it with --force")


def ask(answers: Answers) -> Answers:
    """Ask on the terminal for what is missing."""
    user = answers.user or typer.prompt("Name of the person in the photos")
    outboxes = answers.outboxes or (_ask_folder("Folder the photos are exported to", "~/Pictures/outbox"),)
    sync = answers.sync or _ask_folder("Folder the sync tool uploads", "~/Pictures/sync")
    return Answers(user, outboxes, sync)


def offer_folders(answers: Answers) -> None:
    """Offer to create each missing folder."""
    for folder in _missing(answers):
        if typer.confirm(f"{folder} does not exist. Create it?", default=True):
            atomic.make_folder(folder)


def create_folders(answers: Answers) -> None:
    """Create the missing folders without asking."""
    for folder in _missing(answers):
        atomic.make_folder(folder)


def write(path: Path, answers: Answers, *, force: bool) -> Settings:
    """Write the configuration file, readable only by its owner, if it is valid; return its settings.

    Raises ConfigError if the answers are invalid, OutputError if the file cannot be written.
    """
    *outboxes, sync = map(str, answers.folders())
    text = reference.render({"users": [{"name": answers.user, "outboxes": outboxes, "sync": sync}]})
    settings = parse(text, path)
    atomic.make_folder(path.parent, 0o700)
    atomic.write(path, text.encode(), replace=force, mode=0o600)
    return settings


def _missing(answers: Answers) -> Iterator[Path]:
    """The folders that can be created now, without filling the mount point of a drive that is away."""
    return (
        folder for folder in answers.folders() if not os.path.lexists(folder) and unmounted(folder) is None
    )


def _ask_folder(question: str, default: str) -> Path:
    return Path(typer.prompt(question, default=default))
