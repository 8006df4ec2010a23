"""The commands that control the service (pause, resume, reload) and the one that checks the machine (doctor)."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from daemon.cli.common import Config, Json, echo_replies, examples, load_settings, run_commands
from daemon.exits import Exit

app = typer.Typer()

_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(s|m|min|h|d)")
Whose = Annotated[str | None, typer.Argument(metavar="FOLDER-OR-USER", show_default=False)]


@app.command(
    "pause",
    epilog=examples("fawkesd pause --for 2h", "fawkesd pause ~/Pictures/outbox", "fawkesd pause alice"),
)
def pause_folders(
    whose: Whose = None,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Such as 30m, 2h or 1d [default: until resumed]."),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Pause an outbox, a user, or everything.

    No new photos are started; those in progress are finished. A pause survives a restart; `fawkesd status` shows it.
    Also works while the service is stopped.
    """
    for_s = _seconds(duration)
    settings = load_settings(config)
    from daemon.control import commands
    from daemon.status import lookup

    pauses = [commands.PauseOutbox(one.user, one.root, for_s) for one in lookup.outboxes_of(settings, whose)]
    run_commands(settings, pauses, as_json=as_json)


@app.command(
    "resume",
    epilog=examples(
        "fawkesd resume", "fawkesd resume ~/Pictures/outbox", "fawkesd resume alice --new-target"
    ),
)
def resume_folders(
    *,
    whose: Whose = None,
    new_target: Annotated[
        bool, typer.Option("--new-target", help="Give a user a new target, in place of one that is lost.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --new-target: do not ask.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Resume an outbox, a user, or everything after a pause.

    A user whose target file is lost is paused, and goes on by itself once the file is restored from a backup. Without a
    backup, --new-target lets the photos published from then on have a new target; it says what that means, and asks.
    Also works while the service is stopped.
    """
    settings = load_settings(config)
    from daemon.control import commands
    from daemon.status import lookup

    if new_target:
        user = settings.user(whose or "")
        if user is None:
            raise typer.BadParameter("--new-target needs the name of a user in the configuration")
        what_it_means = lookup.meaning_of_new_target(settings, user.name)
        if not yes:
            typer.echo(what_it_means, err=True)
            typer.confirm(f"Give {user.name} a new target?", abort=True, err=True)
        run_commands(settings, [commands.NewTarget(user.name)], as_json=as_json)
    resumes = [commands.Resume(one.user, one.root) for one in lookup.outboxes_of(settings, whose)]
    run_commands(settings, resumes, as_json=as_json)


@app.command("reload", epilog=examples("fawkesd reload"))
def reload_configuration(config: Config = None, as_json: Json = False) -> None:
    """Make the running service reload its configuration.

    An invalid one is rejected with all its faults, and the service keeps the old one.
    """
    settings = load_settings(config)
    from daemon.control import client, commands

    echo_replies([client.ask_running(settings.state_dir, commands.Reload())], as_json=as_json)


@app.command("doctor", epilog=examples("fawkesd doctor", "fawkesd doctor --deep --json"))
def examine_machine(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also compare every published file with its record.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check everything the service needs.

    Checks folders, mounts, limits, free space, the clock, sync tools and the engine, which is started for the check
    unless the service is running. Exits with 1 when it finds a fault.
    """
    from daemon.config.settings import default_config_path

    settings = load_settings(config)
    from daemon.doctor import examine
    from daemon.doctor.findings import Level, as_line
    from daemon.doctor.findings import as_json as json_of
    from daemon.workers.protocol import DEFAULT_FACTORY

    found = []
    for finding in examine.examine(settings, config or default_config_path(), DEFAULT_FACTORY, deep=deep):
        found.append(finding)
        if not as_json:
            typer.echo(as_line(finding))
    if as_json:
        typer.echo(json_of(found))
    raise typer.Exit(Exit.HELD if any(one.level is Level.FAULT for one in found) else Exit.OK)


def _seconds(duration: str | None) -> float | None:
    if duration is None:
        return None
    from daemon.control.commands import PAUSE_MAX_S

    match = _DURATION.fullmatch(duration.strip())
    seconds = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if not 0 < seconds <= PAUSE_MAX_S:
        raise typer.BadParameter(
            f"{duration!r} is not a duration; write it like 30m, 2h or 1d, at most ten years"
        )
    return seconds
