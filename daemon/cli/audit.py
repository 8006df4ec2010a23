"""The command `audit`: measures how well a user's published photos protect them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.common import Config, Json, echo_step, examples

app = typer.Typer()


@app.command(
    "audit",
    epilog=examples(
        "fawkesd audit --user alice --html audit.html",
        "fawkesd audit --user alice --clean unpublished --tracker onnx:arcface.onnx --gallery other-people",
        "fawkesd audit --user alice --published downloaded --clean unpublished",
    ),
)
def audit_user(
    *,
    user: Annotated[str, typer.Option(help="User whose published photos are audited.")],
    clean: Annotated[
        Path | None,
        typer.Option(help="Folder of clean, unpublished photos of the user [default: the originals]."),
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(help="Folder of the photos that are online [default: the user's sync folder]."),
    ] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            help="A tracker besides the recognisers on disk: a name, or onnx:FILE[@INPUT]; repeatable."
        ),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(help="Folder of other people, <person>/<photos> [default: bundled embeddings]."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a report with pictures to this file.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Measure how often trackers would still name a user.

    The available trackers are trained on what the user published, then asked who is in clean photos of the user. Of
    each photo only the face nearest the middle counts. Nothing is changed, and nothing leaves the machine.

    A tracker from a file (as in `fawkesd evaluate`) needs --gallery: no embeddings of other people are bundled for it.
    """
    from daemon.batch import cloak
    from daemon.config.loader import load_if_any
    from daemon.fs import atomic
    from daemon.measure import audit, audit_html, audit_text

    job = audit.AuditJob(
        user=user,
        shared=audit.shared_photos(load_if_any(config), user, published),
        clean=clean,
        trackers=tuple(tracker or ()),
        gallery=gallery,
        html=html,
        engine=cloak.setup(config, user).engine,
    )
    found = audit.run(job, echo_step)
    for line in [audit_text.as_json(found)] if as_json else audit_text.lines(job, found):
        typer.echo(line)
    if html:
        atomic.write(html, audit_html.page(job, found).encode(), replace=False)
