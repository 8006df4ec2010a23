"""The command `notify`: tells by Apprise what is new."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from daemon.cli.common import Config, examples, load_settings

app = typer.Typer()


@app.command("notify", epilog=examples("fawkesd notify --test", "fawkesd notify"))
def notify_people(
    test: Annotated[bool, typer.Option("--test", help="Send a test message.")] = False,
    config: Config = None,
) -> None:
    """Tell on a phone or by mail what is new.

    That is photos held or in review, publishing paused or resumed, and a backlog that is done. Meant for a timer, once
    a minute: compares the status with what the last call told, and sends at most one message in five minutes, to each
    URL of Apprise in the file `notify.urls_file`. Prints nothing when all is well.
    """
    settings = load_settings(config)
    from daemon.service import notify

    if test:
        notify.test(settings)
        typer.echo("The test message was accepted.")
        return
    notify.notify(settings, time.time())
