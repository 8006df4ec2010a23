"""The commands that publish and report progress: run, once, status.

Each command imports what it needs when it runs: only the service needs watchdog, and `status` is to start quickly.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.common import Config, Json, echo_state, examples, load_settings, warn_of_weak_cloaks
from daemon.exits import Exit
from daemon.status import status_text
from daemon.text import count, printable

if TYPE_CHECKING:
    from daemon.config.settings import Settings

app = typer.Typer()


@app.command("run", epilog=examples("fawkesd run", "fawkesd run --config ./fawkesd.yaml"))
def run_service(
    config: Config = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Log only what needs attention, such as held photos.")
    ] = False,
) -> None:
    """Watch the outboxes and publish their photos.

    Runs in the foreground until stopped by SIGTERM or Ctrl-C. A folder that is missing, such as on an unplugged
    drive, is waited for; `fawkesd status` names it.
    """
    settings = load_settings(config)
    warn_of_weak_cloaks(settings)
    import logging

    from daemon.config.settings import default_config_path
    from daemon.service import run

    path = (config or default_config_path()).absolute()
    page = [sys.executable, "-P", "-m", "daemon", "web", "--with-parent", "--config", str(path)]
    level = logging.WARNING if quiet else logging.INFO
    raise typer.Exit(run.run(settings, lambda: load_settings(config), page=page, level=level))


@app.command("once", epilog=examples("fawkesd once", "fawkesd once --dry-run"))
def run_once(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be done; also while the service runs.")
    ] = False,
    config: Config = None,
) -> None:
    """Publish the photos waiting now, then exit.

    Exits with 0 when everything was published or waits for review, with 1 when a photo is held, and with 69 when a
    folder or a user's target is missing or cannot be used, after publishing what can be; the reasons are printed.
    """
    settings = load_settings(config)
    if dry_run:
        raise typer.Exit(_show_plan(settings))
    warn_of_weak_cloaks(settings)
    from daemon.cli import progress
    from daemon.service import run
    from daemon.state.history import reading

    with progress.bar("looking at the outboxes") as bar:
        result = run.once(settings, bar)
    echo_state(f"{result.published} published, {len(result.held)} held")
    for photo in result.held:
        echo_state(status_text.held_line(photo))
    if result.left:
        typer.echo(f"ended early: {count(result.left, 'photo')} left for the next run")
    if result.review:
        typer.echo(status_text.review_words(result.review))
    with reading(settings.state_dir) as history:
        for paused in [one for user in settings.users for one in history.paused(user.name) if one.waiting]:
            echo_state(status_text.paused_line(paused))
    if quiet := settings.engine.quiet_now:
        typer.echo(f"{status_text.quiet_words(quiet.ends)}: photos wait")
    for line in result.unavailable:
        typer.echo(f"fawkesd: {printable(line)}", err=True)
    if result.unavailable:
        raise typer.Exit(Exit.UNAVAILABLE)
    raise typer.Exit(Exit.HELD if result.held else Exit.OK)


def _show_plan(settings: Settings) -> Exit:
    from daemon.service import dry_run
    from daemon.service.dry_run import Act

    plan = dry_run.plan(settings)
    for step in plan.steps:
        why = f": {printable(step.reason)}" if step.reason else ""
        typer.echo(f"{step.act.value}: {printable(step.path)}{why}")
    counts = (plan.count(act) for act in (Act.CLOAK, Act.WAIT, Act.HOLD, Act.REMOVE))
    typer.echo("{} to cloak, {} to wait, {} to hold, {} to remove; nothing was changed".format(*counts))
    for line in plan.unavailable:
        typer.echo(f"fawkesd: {printable(line)}", err=True)
    return Exit.UNAVAILABLE if plan.unavailable else Exit.OK


@app.command("status", epilog=examples("fawkesd status", "fawkesd status --json"))
def show_status(
    *,
    config: Config = None,
    as_json: Json = False,
    as_metrics: Annotated[
        bool, typer.Option("--prometheus", help="Print metrics for Prometheus' node exporter.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit with 69 unless the service is running and can use every folder and target."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="With --prometheus: write to this file, whole or not at all."),
    ] = None,
) -> None:
    """Show what was published, is waiting or is held.

    Also works while the service is stopped. Exits with 0 all the same, unless --check is given, which a container's
    health check asks by.
    """
    if as_json and as_metrics:
        raise typer.BadParameter("choose one of --json and --prometheus")
    if out is not None and not as_metrics:
        raise typer.BadParameter("--out goes with --prometheus")
    settings = load_settings(config)
    from daemon.status import status

    found = status.read(settings)
    if as_metrics:
        from daemon.status import prometheus

        lines = prometheus.lines(found)
    else:
        lines = iter([status_text.status_json(found)]) if as_json else status_text.status_lines(found)
    if out is not None:
        from daemon.fs import atomic

        atomic.write(out, "".join(f"{line}\n" for line in lines).encode(), replace=True, mode=0o644)
    else:
        for line in lines:
            echo_state(line)
    if check and not found.is_working:
        raise typer.Exit(Exit.UNAVAILABLE)
