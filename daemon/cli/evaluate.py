"""The commands that measure how well cloaks protect: evaluate, study."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli import progress
from daemon.cli.common import echo_step, examples, load_settings
from fawkes_engine import DEFAULT_MODE, ModeName

app = typer.Typer()

Data = Annotated[Path, typer.Option(help="Folder with users/<person>/ and others/<person>/.")]
Trackers = Annotated[list[str], typer.Option(help="An extractor's name, or onnx:FILE[@INPUT]; repeatable.")]
People = Annotated[int | None, typer.Option(min=1, help="Use only the first N users, by name.")]
Tested = Annotated[int, typer.Option(min=1, help="Further photos of each user, for trackers to recognise.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]


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
    out: Annotated[Path, typer.Option(help="Folder for evaluation.json, .md and .svg; created if missing.")],
    tracker: Trackers = ["dlib"],  # noqa: B006 - typer's way to write a repeatable option's default
    head: Annotated[
        list[str], typer.Option(help="How trackers name faces: nearest, centroid or linear; repeatable.")
    ] = ["nearest", "centroid", "linear"],  # noqa: B006
    people: People = None,
    cloaked: Annotated[int, typer.Option(min=1, help="Photos of each user that are published.")] = 10,
    tested: Tested = 10,
    seed: Seed = 0,
    disturb: Annotated[
        bool,
        typer.Option("--disturb", help="Also test cloaked photos after recompression, halving and blur."),
    ] = False,
    fine_tune: Annotated[
        int,
        typer.Option(
            metavar="EPOCHS", min=0, help="Also train each PyTorch tracker's network for EPOCHS; slow."
        ),
    ] = 0,
    portraits: Annotated[
        Path | None,
        typer.Option(help="Folder of <person>/ with large photos, to measure what cloaks cost in them."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the cloaked photos in OUT/published.")] = False,
    published: Annotated[
        Path | None, typer.Option(help="Judge photos kept by an earlier --keep instead of cloaking.")
    ] = None,
    mode: Annotated[
        ModeName, typer.Option(help="How photos are cloaked, unless --config says.")
    ] = DEFAULT_MODE,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration whose engine settings to use, not the defaults."),
    ] = None,
) -> None:
    """Measure how well cloaks fool trackers.

    Some photos of each user are cloaked; trackers learn the users from them, among 400 other people, and are then asked
    who is in other, clean photos. This does not touch the targets, outboxes or sync folders of the service.

    A tracker is the name of an extractor (dlib), which the cloaks may be computed against, or a file that onnxruntime
    runs (pip install onnxruntime): onnx:FILE. Its crop and scale follow from its input, or from @INPUT appended to it:
    arcface (112 px, -1..1), arcface-raw (112 px, 0..255), hse (224 px, 0..255).
    """
    from daemon.config.settings import EngineConfig
    from daemon.measure import evaluate

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
        list[str] | None, typer.Argument(metavar="NAME", help="Studies to run [default: all].")
    ] = None,
    data: Data,
    published: Annotated[
        list[Path], typer.Option(help="Photos kept by `evaluate --keep`, one folder per mode; repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for NAME.json and NAME.md; created if missing.")],
    tracker: Trackers = ["dlib"],  # noqa: B006
    people: People = None,
    cloaked: Annotated[int, typer.Option(min=1, help="Photos of each user that were published.")] = 10,
    tested: Tested = 10,
    seed: Seed = 0,
    cache: Annotated[
        Path | None,
        typer.Option(help="Cache folder for faces as trackers see them [default: OUT/cache]."),
    ] = None,
) -> None:
    """Measure what defeats the cloaks.

    Uses photos cloaked by `fawkesd evaluate --keep`, with the same --data, --people, --cloaked, --tested and
    --seed. Each study is explained above its tables.
    """
    from daemon.measure import study

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
