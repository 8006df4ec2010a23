"""The commands `cloak` and `preview`: cloak photos given on the command line, or show how one would look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli import progress
from daemon.cli.common import Config, Json, Strength, choice_of, examples
from daemon.exits import Exit
from fawkes_engine import FULL_STRENGTH, STRONGEST_MODE, ModeName

if TYPE_CHECKING:
    from daemon.batch.cloak import CloakJob, Outcome
    from daemon.workers.protocol import EngineLike
    from fawkes_engine import Step

app = typer.Typer()


def _user_name(name: str) -> str:
    from pydantic import TypeAdapter, ValidationError

    from daemon.config.settings import UserName

    try:
        return TypeAdapter(UserName).validate_python(name)
    except ValidationError as exc:
        raise typer.BadParameter(
            "write at most 64 letters A-Z or a-z, digits, . _ or -, beginning with a letter, digit or _"
        ) from exc


@app.command(
    "cloak",
    epilog=examples(
        "fawkesd cloak IMG_1.jpg --user alice --out cloaked",
        "fawkesd cloak ~/Pictures/2026/*.jpg --user alice --out cloaked --json > report.jsonl",
        "fawkesd cloak - --user alice < IMG_1.jpg > cloaked.jpg",
    ),
)
def cloak_photos(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO", show_default=False)],
    user: Annotated[
        str, typer.Option(callback=_user_name, help="User whose target identity the photos get.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the cloaked copies; created if missing.", show_default=False),
    ] = None,
    mode: Annotated[
        ModeName | None,
        typer.Option(help="Mode to use [default: the configuration's, else standard].", show_default=False),
    ] = None,
    strength: Strength = None,
    config: Config = None,
    as_json: Json = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace existing files in --out, and cloak published copies again."),
    ] = False,
) -> None:
    """Cloak the given photos now.

    Needs neither the service nor a configuration. Exits with 1 when a photo is held; the reason is printed. Copies that
    the service published are held: they are cloaked already. Those that this command made are not known again.

    With `-` for PHOTO, reads one photo from standard input and writes its copy, once it is verified, to standard
    output, and nothing else; the report goes to standard error.
    """
    from daemon.batch import cloak, stream
    from daemon.state import history

    _check_places(photos, out)
    setup = cloak.setup(config, user)
    choice = choice_of(mode, strength)
    settings = setup.engine.model_copy(update={"mode": choice.mode} if choice else {})
    request = cloak.at_strength(setup.request, choice.strength) if choice else setup.request
    report = cloak.as_json if as_json else cloak.as_line

    def load() -> EngineLike:
        cloak.check_target(setup, user)
        return cloak.load_engine(settings.to_engine(), setup.targets_dir)

    with history.reading(setup.state_dir) as known:
        job = cloak.CloakJob(tuple(map(Path, photos)), request, known.origin, out or Path(), force)
        if stream.STREAM in photos:
            raise typer.Exit(_cloak_stream(job, load, report))
        raise typer.Exit(_cloak_files(job, load, report, setup.engine.batch_photos))


def _check_places(photos: Sequence[str], out: Path | None) -> None:
    """Raise BadParameter unless there is a folder for photos, or none for the stream."""
    from daemon.batch.stream import STREAM

    if STREAM in photos and (len(photos) > 1 or out is not None):
        raise typer.BadParameter("`-` takes one photo to standard output: give no other photo, and no --out")
    if STREAM not in photos and out is None:
        raise typer.BadParameter("name the folder for the cloaked copies with --out")


def _cloak_files(
    job: CloakJob, load: Callable[[], EngineLike], report: Callable[[Outcome], str], batch_photos: int
) -> Exit:
    from daemon.batch import cloak, output_folder

    output_folder.check(job.photos, job.out, force=job.force)
    held = False
    with progress.bar("loading the recognisers") as bar:
        engine = load()
        bar.total(len(job.photos))
        for outcome in cloak.cloak(job, engine, batch_photos, _shown(bar)):
            held |= isinstance(outcome, output_folder.NotWritten)
            typer.echo(report(outcome))
            bar.advance()
    return Exit.HELD if held else Exit.OK


def _shown(bar: progress.Bar) -> Callable[[Step], None]:
    from daemon.status.status_text import share_words

    return lambda step: bar.doing(share_words(step.phase.value, step.share))


def _cloak_stream(job: CloakJob, load: Callable[[], EngineLike], report: Callable[[Outcome], str]) -> Exit:
    from daemon.batch import output_folder, stream

    with stream.output() as descriptor, progress.bar("loading the recognisers") as bar:
        photo = stream.read()
        engine = load()
        bar.total(1)
        outcome = stream.cloak(job, engine, photo, descriptor, _shown(bar))
    typer.echo(report(outcome), err=True)
    return Exit.HELD if isinstance(outcome, output_folder.NotWritten) else Exit.OK


@app.command(
    "preview",
    epilog=examples(
        "fawkesd preview IMG_1.jpg --user alice --out preview.png",
        "fawkesd preview IMG_1.jpg --user alice --out preview.png --strength 55 --strength 70 --force",
    ),
)
def preview_photo(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", show_default=False)],
    *,
    user: Annotated[
        str, typer.Option(callback=_user_name, help="User whose target identity the photo gets.")
    ],
    out: Annotated[Path, typer.Option(help="PNG file for the picture.")],
    strength: Annotated[
        list[int] | None,
        typer.Option(min=0, max=FULL_STRENGTH, help="Strengths to show [default: 40, 60, 80, 100]."),
    ] = None,
    mode: Annotated[ModeName, typer.Option(help="Mode of which strengths are percents.")] = STRONGEST_MODE,
    config: Config = None,
    as_json: Json = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Show how a photo's faces would look at several strengths.

    The cloak is computed once; the picture has a row per face, the original first, pixel for pixel. Says of each
    strength whether the photo would be held, and how strong the cloak is. Nothing is published; `fawkesd redo
    --strength` does that.
    """
    from daemon.batch import cloak, output_folder, preview
    from daemon.fs import atomic

    setup = cloak.setup(config, user)
    preview.check(photo, out, force=force)
    cloak.check_target(setup, user)
    settings = setup.engine.model_copy(update={"mode": mode})
    engine = cloak.load_engine(settings.to_engine(), setup.targets_dir)
    original = output_folder.read(photo)
    looks = engine.looks(setup.request(original), strength or preview.STRENGTHS)
    atomic.write(out, preview.as_png(original, looks), replace=force)
    for look in looks:
        typer.echo(preview.as_json(look) if as_json else preview.as_line(look))
