"""The output of `fawkesd bench`: a column for each mode, the estimate, and what `auto` will be; or all as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from daemon.text import duration

if TYPE_CHECKING:
    from daemon.measure.bench import Auto, Bench
    from daemon.measure.bench_worker import Measured

_LABEL = 32
_COLUMN = 12


def bench_lines(bench: Bench, *, what: str) -> Iterator[str]:
    """Yield the table, then the estimate, then what `device: auto` will be. what: such as "photos that wait"."""
    columns: dict[str, Measured] = {}
    for mode, measured in bench.modes.items():
        columns[mode] = measured
        if bench.auto and bench.auto.two and mode == bench.waiting_mode:
            columns["two engines"] = bench.auto.two
    each = list(columns.values())
    threads = f"{each[0].threads} thread{'' if each[0].threads == 1 else 's'}"
    yield f"{'+'.join(bench.extractors)} on {each[0].device}, {threads}; {bench.sample} different photo(s)"
    yield _row("", *columns)
    yield _row("seconds per photo, in batches", *(f"{one.seconds_per_photo:.2f}" for one in each))
    yield _row("  photos / held / faces", *(f"{one.photos} / {one.held} / {one.faces}" for one in each))
    yield _row("faces per second", *(f"{one.faces_per_s:.2f}" for one in each))
    yield _row("first photo, alone, s", *(f"{one.first_s:.1f}" for one in each))
    yield _row("engine start, s", *(f"{one.start_s:.1f}" for one in each))
    yield _row("idle memory, MiB", *(str(one.rest_mib) for one in each))
    yield _row("peak memory, MiB", *(str(one.peak_mib) for one in each))
    if any(one.peak_gpu_mib for one in each):
        yield _row("peak GPU memory, MiB", *(str(one.peak_gpu_mib) for one in each))
    for stage in each[0].stages:
        yield _row(f"  {stage}", *(f"{one.stages[stage]:.0%}" for one in each))
    if bench.waiting:
        yield f"{bench.waiting} {what}: about {duration(bench.waiting_s)} ({bench.waiting_mode})"
    else:
        yield f"0 {what}"
    if bench.auto:
        yield from _auto(bench.auto, bench.waiting_mode)


def _auto(auto: Auto, mode: str) -> Iterator[str]:
    engines = "two engines" if auto.engines == 2 else "one engine"
    yield f"`device: auto` will be {engines}{'' if auto.kept else ', as before'} ({mode}: {auto.why})"
    if auto.kept:
        yield f"kept in {auto.kept}; a running service goes by it after `fawkesd reload`"
    elif auto.obstacle:
        yield f"not kept: {auto.obstacle}"


def bench_json(bench: Bench) -> str:
    """Return all measurements as JSON."""
    return json.dumps(asdict(bench), indent=2)


def _row(label: str, *values: str) -> str:
    return f"{label:<{_LABEL}}" + "".join(f"{value:>{_COLUMN}}" for value in values)
