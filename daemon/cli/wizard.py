"""Interactive setup: asks for names and folders, offers to create folders, writes a commented configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from pydantic import ValidationError

from daemon.config import cross_checks, messages, reference
from daemon.config.loader import parse
from daemon.config.settings import Settings
from daemon.errors import ConfigError, OutputError
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


def ask(options: Answers) -> Answers:
    """Ask on the terminal for what is missing, and again for what cannot be used.

    Raises ConfigError if an option cannot be used, before anything is asked where that is certain.
    """
    _check_options(options)
    user = options.user or _ask("Name of the person in the photos (letters A-Z or a-z, digits)", None, "name")
    while True:
        outboxes = options.outboxes or (
            Path(_ask("Folder the photos are exported to", "~/Pictures/outbox", "outboxes")),
        )
        sync = options.sync or Path(_ask("Folder the sync tool uploads", "~/Pictures/sync", "sync"))
        answers = Answers(user, outboxes, sync)
        overlaps = cross_checks.folders(Settings.model_validate(_data(answers)))
        if not overlaps:
            return answers
        problems = "\n".join(fault.problem for fault in overlaps)
        sync_is_wrong = all(fault.where == ("users", 0, "sync") for fault in overlaps)
        if options.sync or (options.outboxes and not sync_is_wrong):
            raise ConfigError(problems)
        typer.echo(f"Error: {problems}", err=True)


def offer_folders(answers: Answers) -> None:
    """Offer to create each missing folder."""
    for folder in missing(answers):
        if typer.confirm(f"{folder} does not exist. Create it?", default=True):
            atomic.make_folder(folder)


def create_folders(answers: Answers) -> None:
    """Create the missing folders without asking."""
    for folder in missing(answers):
        atomic.make_folder(folder)


def write(path: Path, answers: Answers, *, force: bool) -> Settings:
    """Write the configuration file, readable only by its owner, if it is valid; return its settings.

    Raises ConfigError if the answers are invalid, OutputError if the file cannot be written.
    """
    text = reference.render(_data(answers))
    settings = parse(text, path)
    atomic.make_folder(path.parent, 0o700)
    atomic.write(path, text.encode(), replace=force, mode=0o600)
    return settings


def missing(answers: Answers) -> Iterator[Path]:
    """Return the folders that can be created now, without filling the mount point of a drive that is away."""
    return (
        folder for folder in answers.folders() if not os.path.lexists(folder) and unmounted(folder) is None
    )


def _data(answers: Answers) -> dict[str, object]:
    """The answers as the configuration has them."""
    *outboxes, sync = map(str, answers.folders())
    return {"users": [{"name": answers.user, "outboxes": outboxes, "sync": sync}]}


def _ask(question: str, default: str | None, key: str) -> str:
    def checked(answer: str) -> str:
        if problem := _objection(key, [answer] if key == "outboxes" else answer):
            raise typer.BadParameter(problem)
        return answer

    return str(typer.prompt(question, default=default, value_proc=checked))


def _check_options(options: Answers) -> None:
    values = {"name": options.user, "outboxes": options.outboxes, "sync": options.sync}
    problems = [problem for key, value in values.items() if value and (problem := _objection(key, value))]
    if problems:
        raise ConfigError("\n".join(problems))


def _objection(key: str, value: object) -> str | None:
    """Why a user cannot have this value for a key; None if that is all right, alone."""
    try:
        Settings.model_validate({"users": [{key: value}]})
    except ValidationError as exc:
        faults = messages.faults(exc, Settings)
        return next((fault.problem for fault in faults if fault.where[:3] == ("users", 0, key)), None)
    return None
