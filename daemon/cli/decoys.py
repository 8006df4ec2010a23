"""The command `sybil`: makes decoys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli import progress
from daemon.cli.common import Config, Json, examples
from daemon.exits import Exit
from fawkes_engine import ModeName

app = typer.Typer()


@app.command(
    "sybil",
    epilog=examples(
        "fawkesd sybil --user alice --images bob-agreed --out decoys",
        "fawkesd sybil --user alice --images bob-agreed --like alice-photos --out decoys --i-have-consent --json",
    ),
)
def make_decoys(  # noqa: PLR0913 - one parameter per option
    *,
    user: Annotated[str, typer.Option(help="User whom trackers should see in the decoys.")],
    images: Annotated[Path, typer.Option(help="Folder of photos of somebody else, who has agreed.")],
    out: Annotated[Path, typer.Option(help="Folder for the decoys; created if missing.")],
    like: Annotated[
        Path | None,
        typer.Option(help="Folder of clean photos of the user [default: the originals of published ones]."),
    ] = None,
    mode: Annotated[ModeName, typer.Option(help="How visible the change may be.")] = "strong",
    consent: Annotated[
        bool, typer.Option("--i-have-consent", help="Everyone in --images has agreed; do not ask.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files in --out.")] = False,
) -> None:
    """Make decoys, for a second account.

    A decoy is a photo of somebody else whose face is moved toward the user's own. Where clean photos of the user have
    leaked, a tracker may give the decoys' name to new ones. The photos are only read; decoys carry no
    metadata. Exits with 1 when no decoy could be made of a photo; the reason is printed.
    """
    from daemon.batch import cloak, decoys, output_folder, own_photos
    from daemon.config.loader import load_if_any

    setup = cloak.setup(config, user)
    job = decoys.DecoyJob(
        user=user,
        images=tuple(own_photos.photos_in(images)),
        own=decoys.own_photos(load_if_any(config), user, like),
        out=out,
        force=force,
    )
    own_photos.refuse_copies(job.own, setup.state_dir)
    output_folder.check(job.images, job.out, force=job.force)
    typer.echo(decoys.EXPLANATION.format(user=user), err=True)
    if not consent:
        question = f"Has everyone in {images} agreed to this, and are the features {user}'s own?"
        typer.confirm(question, abort=True, err=True)
    settings = setup.engine.model_copy(update={"mode": mode})
    engine = decoys.load_engine(settings.to_engine(), setup.targets_dir)
    learned = engine.likeness(user, map(output_folder.read, job.own))
    typer.echo(f"Learned {user}'s features from {learned.photos} of {len(job.own)} photos.", err=True)
    refused = False
    with progress.bar("making decoys") as bar:
        bar.total(len(job.images))
        for outcome in decoys.make(job, engine, learned):
            refused |= isinstance(outcome, output_folder.NotWritten)
            typer.echo(decoys.as_json(outcome) if as_json else decoys.as_line(outcome))
            bar.advance()
    raise typer.Exit(Exit.HELD if refused else Exit.OK)
