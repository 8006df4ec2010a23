"""The commands by which a person decides about single photos: approve, reject, recall, publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.common import Config, Json, examples, load_settings, run_commands

if TYPE_CHECKING:
    from daemon.config.settings import Settings
    from daemon.control.decisions import Decision

app = typer.Typer()

Photos = Annotated[list[Path], typer.Argument(metavar="PATH", show_default=False)]


@app.command(
    "approve",
    epilog=examples(
        "fawkesd approve ~/Pictures/outbox/IMG_1.jpg",
        "fawkesd approve --all",
        "fawkesd approve --all --user alice",
    ),
)
def approve_photos(
    photos: Annotated[list[Path] | None, typer.Argument(metavar="PATH", show_default=False)] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Approve every photo that waits for review.")
    ] = False,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="With --all: only this user's.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Publish photos that wait for review.

    With `review: true` for a user, finished photos wait until they are approved. Also publishes one that was rejected.
    Also works while the service is stopped: they are published at the next start.
    """
    if bool(photos) == everything:
        raise typer.BadParameter("name the photos, or use --all")
    if user is not None and not everything:
        raise typer.BadParameter("--user goes with --all")
    settings = load_settings(config)
    from daemon.control import decisions

    if user is not None and settings.user(user) is None:
        raise typer.BadParameter(f"{user!r} is no user in the configuration")
    if everything:
        run_commands(settings, [decisions.ApproveAll(user)], as_json=as_json)
    _run(photos or [], lambda photo: decisions.Approve(photos=(photo,)), settings, as_json=as_json)


@app.command("reject", epilog=examples("fawkesd reject ~/Pictures/outbox/IMG_1.jpg"))
def reject_photos(photos: Photos, config: Config = None, as_json: Json = False) -> None:
    """Keep photos away that wait for review.

    `fawkesd approve` and `fawkesd redo` bring them back; `fawkesd held` lists them. Also works while the service is
    stopped.
    """
    from daemon.control import decisions

    _run(photos, lambda photo: decisions.Reject(photos=(photo,)), load_settings(config), as_json=as_json)


@app.command(
    "recall",
    epilog=examples("fawkesd recall ~/Pictures/sync/IMG_1.jpg", "fawkesd recall ~/Pictures/outbox/IMG_1.jpg"),
)
def recall_photos(photos: Photos, config: Config = None, as_json: Json = False) -> None:
    """Take published photos back: remove their copies from the sync folder, and keep them away.

    A copy that was changed after it was published is left. `fawkesd redo` publishes a photo again; nothing else does,
    not even another export of it. What a sync tool has uploaded, and who has seen it, is not in fawkesd's hands.
    PATH is in an outbox or in a sync folder. Also works while the service is stopped: it happens at the next start.
    """
    from daemon.control import decisions

    _run(photos, lambda photo: decisions.Recall(photos=(photo,)), load_settings(config), as_json=as_json)


@app.command("publish", epilog=examples("fawkesd publish ~/Pictures/outbox/landscape.jpg"))
def publish_photos(photos: Photos, config: Config = None, as_json: Json = False) -> None:
    """Publish photos that are held because no face was found in them.

    Look first: a face that was missed is published as it is. A photo held for anything else stays held. Also works
    while the service is stopped: it happens at the next start.
    """
    from daemon.control import decisions

    _run(photos, lambda photo: decisions.Publish(photos=(photo,)), load_settings(config), as_json=as_json)


def _run(
    photos: list[Path], command: Callable[[Path], Decision], settings: Settings, *, as_json: bool
) -> None:
    from daemon.status import lookup

    sources = lookup.sources_at(settings, photos)
    run_commands(settings, [command(source.path) for source in sources], as_json=as_json)
