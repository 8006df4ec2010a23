"""Options and helpers shared by the commands."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.exits import Exit
from daemon.model import Choice
from daemon.text import printable
from fawkes_engine import FULL_STRENGTH, STRONGEST_MODE, ModeName

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.control.commands import LedgerCommand, Reply

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file [default: ~/.config/fawkesd/fawkesd.yaml]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also print the figures of the cloak.")]

Strength = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=FULL_STRENGTH,
        help="Strength of the cloak: percent of what mode strong computes, or the mode that --mode names. "
        "`standard` shows about as much as 67 percent of `strong`, and protects better. What does not protect is held "
        "[default: 100].",
        show_default=False,
    ),
]


def choice_of(mode: ModeName | None, strength: int | None) -> Choice | None:
    """Return what `--mode` and `--strength` ask for; None if neither is given."""
    if mode is None and strength is None:
        return None
    return Choice(mode or STRONGEST_MODE, FULL_STRENGTH if strength is None else strength)


def examples(*lines: str) -> str:
    """Return example lines as the epilog of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def load_settings(config: Path | None) -> Settings:
    """Return the settings of `--config`, or of the default file. Raises ConfigError.

    Warns root of another account's file: `~` in it would mean root's home, and whatever is written belongs to root.
    """
    from daemon.config.loader import load
    from daemon.config.settings import default_config_path

    path = config or default_config_path()
    settings = load(path)
    owner = path.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        with contextlib.suppress(KeyError):  # a number without an account, as in a container
            name = pwd.getpwuid(owner).pw_name
            typer.echo(
                f"warning: {printable(path)} belongs to {name}, but this is run by root: `~` in it is root's home, and "
                f"new files will belong to root; run `sudo -u {name} fawkesd ...` instead",
                err=True,
            )
    return settings


def warn_of_absent(settings: Settings) -> None:
    """Print each outbox and sync folder that is missing, on stderr, with what to do about it."""
    from daemon.config import cross_checks
    from daemon.config.yaml_source import dotted
    from daemon.fs.absence import absence, advice

    folders = list(cross_checks.photo_folders(settings))
    for folder in folders:
        reason = absence(folder.path)
        if reason is not None:
            what_to_do = advice(folder.path, [other.path for other in folders])
            line = f"{dotted(folder.where)}: {folder.path} {reason}; {what_to_do}"
            typer.echo(f"warning: {printable(line)}", err=True)


# in a line of `status`: what waits for a person, and what is well; the indented lines begin with theirs
_COLOURS = {
    re.compile(r"^  (held|paused|waits for|not finished by its writer)\b"): typer.colors.YELLOW,
    re.compile(r"(?<=, )[1-9]\d* held\b"): typer.colors.YELLOW,
    re.compile(r"^(\S+: )?[1-9]\d* published( today)?\b"): typer.colors.GREEN,
}


def echo_state(line: str) -> None:
    """Print a line of the status, on a terminal in colours, unless $NO_COLOR is set."""
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        for pattern, colour in _COLOURS.items():
            line = pattern.sub(typer.style(r"\g<0>", fg=colour), line, count=1)
    typer.echo(line)


def warn_of_weak_cloaks(settings: Settings) -> None:
    """Print, on stderr, that more recognisers can be fetched, where only the package's own would be used unasked."""
    if not settings.engine.extractors and len(settings.engine.ensemble) == 1:
        typer.echo(
            "warning: cloaks are computed against one face recogniser alone and protect much less; fetch more with "
            "`fawkesd models fetch`",
            err=True,
        )


def echo_step(doing: str) -> None:
    """Print the step that a long command starts, on stderr."""
    typer.echo(doing, err=True)


def run_commands(settings: Settings, commands: Iterable[LedgerCommand], *, as_json: bool) -> None:
    """Run commands, in the service if it is running, and print the replies as `echo_replies` does."""
    from daemon.control import client

    echo_replies([client.run(settings.state_dir, command) for command in commands], as_json=as_json)


def echo_replies(replies: Sequence[Reply], *, as_json: bool) -> None:
    """Print replies, errors to stderr, and exit with the first code that is not 0."""
    if as_json:
        typer.echo(json.dumps([asdict(reply) for reply in replies], indent=2))
    else:
        for reply in replies:
            typer.echo(reply.message, err=reply.code is not Exit.OK)
    raise typer.Exit(next((reply.code for reply in replies if reply.code is not Exit.OK), Exit.OK))
