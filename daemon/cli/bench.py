"""The command `bench`: measures how fast this machine cloaks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon.cli import progress
from daemon.cli.common import Config, Json, examples
from fawkes_engine import MODES, ModeName

app = typer.Typer()


@app.command(
    "bench",
    epilog=examples(
        "fawkesd bench", "fawkesd bench --data ~/Pictures/2026 --mode standard", "fawkesd bench --json"
    ),
)
def measure_machine(
    data: Annotated[
        Path | None, typer.Option(help="Folder of photos to measure with, instead of the outboxes.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Approximate time to spend, in seconds.")] = 60.0,
    mode: Annotated[
        ModeName | None, typer.Option(help="Measure only this mode [default: all].", show_default=False)
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Measure how fast this machine cloaks.

    Uses the newest photos of the outboxes, waiting ones first, or those of --data. They are only read; nothing is
    published, and the service's targets are not touched. With `device: auto` it also measures two engines in the
    configured mode, and the service runs two from its next start on where they gain.
    """
    from daemon.config.loader import load_if_any
    from daemon.config.settings import EngineConfig

    settings = load_if_any(config)
    from daemon.fs.locks import holder
    from daemon.measure import bench, bench_photos, bench_text

    engine = settings.engine if settings else EngineConfig()
    if data is not None:
        sample, what = bench_photos.of_folder(data, engine.batch_photos), f"photos in {data}"
    else:
        sample, what = bench_photos.of_outboxes(settings), "photos that wait"
    if settings and (pid := holder(settings.state_dir)):
        typer.echo(
            f"fawkesd is running (process {pid}) and slows the measurement down; stop it first", err=True
        )
    modes = [mode] if mode else list(MODES)
    with progress.bar("measuring") as bar:
        bar.total(len(modes) + (engine.device == "auto"))
        job = bench.BenchJob(engine, modes, sample, seconds, settings.state_dir if settings else None)
        measured = bench.run(job, bar.advance)
    for line in [bench_text.bench_json(measured)] if as_json else bench_text.bench_lines(measured, what=what):
        typer.echo(line)
