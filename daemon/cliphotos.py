"""The commands about photos: why, history, held, retry, redo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon import showphoto
from daemon.clicommon import Config, Json, examples, load_settings

app = typer.Typer()


@app.command(
    "why",
    epilog=examples(
        "fawkesd why ~/Pictures/outbox/IMG_1.jpg", "fawkesd why ~/Pictures/sync/IMG_1.jpg --json"
    ),
)
def explain_photo(
    photo: Annotated[Path, typer.Argument(metavar="PATH", show_default=False)],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell what happened to one photo.

    PATH is in an outbox or in a sync folder. Works with the service stopped, too.
    """
    settings = load_settings(config)
    from daemon import why

    found = why.explain(settings, photo)
    for line in [showphoto.why_json(found)] if as_json else showphoto.why_lines(found):
        typer.echo(line)
