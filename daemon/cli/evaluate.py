"""The commands that measure what the cloaks are worth: evaluate, study."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli import progress
from daemon.cli.common import echo_step, examples, load_settings
from daemon.config.settings import EngineConfig
from daemon.measure import evaluate, study
from fawkes_engine import DEFAULT_MODE, ModeName

app = typer.Typer()

Data = Annotated[Path, typer.Option(help="Folder with users/<person>/ and others/<person>/.")]
Trackers = Annotated[list[str], typer.Option(help="An extractor's name, or onnx:FILE[@INPUT]; repeatable.")]
People = Annotated[int | None, typer.Option(min=1, help="Only the first so many users, by name.")]
Tested = Annotated[int, typer.Option(min=1, help="Other photos of each user, to recognise.")]
Seed = Annotated[int, typer.Option(help="Of every random choice.")]


@app.command(
    "evaluate",
    epilog=examples(
        "fawkesd evaluate --data faces --out result",
        "fawkesd evaluate --data faces --tracker dlib --tracker onnx:arcface.onnx --keep --out result",
        "fawkesd evaluate --data faces --tracker onnx:other.onnx@arcface-raw --published result/published --out more",
    ),
)
def measure_protection(  # noqa: PLR0913 - one parameter per option
    *,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for evaluation.json, .md and .svg; made if missing.")],
    tracker: Trackers = ["dlib"],  # noqa: B006 - typer's way to write a repeatable option's default
    head: Annotated[
        list[str], typer.Option(help="How it names faces: nearest, centroid or linear; repeatable.")
    ] = ["nearest", "centroid", "linear"],  # noqa: B006
    people: People = None,
    cloaked: Annotated[int, typer.Option(min=1, help="Photos of each user that are published.")] = 10,
    tested: Tested = 10,
    seed: Seed = 0,
    disturb: Annotated[
        bool, typer.Option("--disturb", help="Also cloaked photos recompressed, halved, blurred.")
    ] = False,
    fine_tune: Annotated[
        int,
        typer.Option(
            metavar="EPOCHS", min=0, help="Also train each PyTorch tracker's network so long; slow."
        ),
    ] = 0,
    portraits: Annotated[
        Path | None, typer.Option(help="Folder of <person>/ with large photos: what their cloaks cost.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the cloaked photos in OUT/published.")] = False,
    published: Annotated[
        Path | None, typer.Option(help="Judge photos that --keep has kept, instead of cloaking.")
    ] = None,
    mode: Annotated[
        ModeName, typer.Option(help="How photos are cloaked, where no --config tells.")
    ] = DEFAULT_MODE,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration whose engine settings to use, not the defaults."),
    ] = None,
) -> None:
    """Measure how far trackers are fooled.

    Some photos of each user are cloaked; trackers learn the users from them, among 400 other people, and are asked who
    is on other, clean photos. Nothing of this touches the targets, the outboxes or the sync folders of the service.

    A tracker is the name of an extractor (dlib), which the cloaks may be computed against, or a file that onnxruntime
    runs (pip install onnxruntime): onnx:FILE. Its crop and scale are told by its input, or by @INPUT behind it: arcface
    (112 px, -1..1), arcface-raw (112 px, 0..255), hse (224 px, 0..255).
    """
    if published and (portraits or keep or config):
        raise typer.BadParameter("--published cloaks nothing: leave out --portraits, --keep and --config")
    job = evaluate.EvaluateJob(
        data=data,
        portraits=portraits,
        trackers=tuple(tracker),
        heads=tuple(head),
        people=people,
        cloaked=cloaked,
        tested=tested,
        seed=seed,
        disturb=disturb,
        fine_tune_epochs=fine_tune,
        published=published,
        keep=keep,
        out=out,
        engine=load_settings(config).engine.to_engine() if config else EngineConfig(mode=mode).to_engine(),
        command=shlex.join(["fawkesd", *sys.argv[1:]]),
    )
    typer.echo(evaluate.run(job, bar=progress.bar, on_step=echo_step))


@app.command(
    "study",
    epilog=examples(
        "fawkesd study --data faces --published result/published --out studies",
        "fawkesd study leak linkage --data faces --published standard/published --published strong/published "
        "--tracker dlib --tracker onnx:arcface.onnx --out studies",
    ),
)
def study_protection(  # noqa: PLR0913 - one parameter per option
    *,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Which studies; all if none is named.")
    ] = None,
    data: Data,
    published: Annotated[
        list[Path], typer.Option(help="What `evaluate --keep` has kept; one of each mode, repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for NAME.json and NAME.md; made if missing.")],
    tracker: Trackers = ["dlib"],  # noqa: B006
    people: People = None,
    cloaked: Annotated[int, typer.Option(min=1, help="Photos of each user that were published.")] = 10,
    tested: Tested = 10,
    seed: Seed = 0,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder in which faces are kept as trackers see them [default: OUT/cache]."),
    ] = None,
) -> None:
    """Measure what beats the cloaks.

    Takes photos that `fawkesd evaluate --keep` has cloaked, with the same --data, --people, --cloaked, --tested and
    --seed. What each study does is told above its tables.
    """
    job = study.StudyJob(
        names=tuple(names or ()),
        data=data,
        published=tuple(published),
        trackers=tuple(tracker),
        people=people,
        cloaked=cloaked,
        tested=tested,
        seed=seed,
        cache=cache,
        out=out,
        command=shlex.join(["fawkesd", *sys.argv[1:]]),
    )
    for tables in study.run(job, echo_step):
        typer.echo(tables)
