"""The commands that steer the service: pause, resume, reload; and the one that examines it: doctor."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from daemon.cli.common import Config, Json, echo_replies, examples, load_settings, run_commands
from daemon.config.settings import default_config_path
from daemon.exits import Exit

app = typer.Typer()

_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(s|m|min|h|d)")
Whose = Annotated[str | None, typer.Argument(metavar="[FOLDER-OR-USER]", show_default=False)]


@app.command(
    "pause",
    epilog=examples("fawkesd pause --for 2h", "fawkesd pause ~/Pictures/outbox", "fawkesd pause alice"),
)
def pause_folders(
    whose: Whose = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Such as 30m, 2h or 1d; else until resumed.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Begin no new photos of an outbox, of a person, or of all.

    What is in work is finished. A pause outlasts a restart; `fawkesd status` shows it. Works with the service
    stopped, too.
    """
    for_s = _seconds(duration)
    settings = load_settings(config)
    from daemon.control import commands
    from daemon.status import lookup

    wanted = [commands.PauseOutbox(one.user, one.root, for_s) for one in lookup.outboxes_of(settings, whose)]
    run_commands(settings, wanted, as_json=as_json)


@app.command("resume", epilog=examples("fawkesd resume", "fawkesd resume ~/Pictures/outbox"))
def resume_folders(whose: Whose = None, config: Config = None, as_json: Json = False) -> None:
    """Go on after a pause.

    With an outbox, a person, or all. Works with the service stopped, too.
    """
    settings = load_settings(config)
    from daemon.control import commands
    from daemon.status import lookup

    wanted = [commands.Resume(one.user, one.root) for one in lookup.outboxes_of(settings, whose)]
    run_commands(settings, wanted, as_json=as_json)


@app.command("reload", epilog=examples("fawkesd reload"))
def reload_configuration(config: Config = None, as_json: Json = False) -> None:
    """Let the running service read its configuration again.

    A wrong one is refused with its faults, and the service goes on as before.
    """
    settings = load_settings(config)
    from daemon.control import client, commands

    echo_replies([client.ask_running(settings.state_dir, commands.Reload())], as_json=as_json)


@app.command("doctor", epilog=examples("fawkesd doctor", "fawkesd doctor --deep --json"))
def examine_machine(
    deep: Annotated[
        bool, typer.Option("--deep", help="Also compare every published file with the record of it.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Check what the service needs.

    Folders, mounts, limits, room, the clock, sync tools and the engine, which is started for it unless the
    service runs. Exits with 1 when it finds a fault.
    """
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
        raise typer.BadParameter(f"{duration!r} is no time; write it like 30m, 2h or 1d, at most ten years")
    return seconds
