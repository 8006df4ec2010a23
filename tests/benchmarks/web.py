"""How long the page's own work takes with a long ledger: `python -m tests.benchmarks.web --rows 100000`.

The ledger is filled as by many years of photos, each with a report. Every page is made in this process, without a
network and a browser; the first time is left out. CPU seconds of this process, which a busy machine does not stretch.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from starlette.requests import Request

from daemon.config.settings import Settings, UserSettings
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME
from daemon.web.context import Context
from daemon.web.looks import Looks
from daemon.web.overview import Overview

_REPEATS = 5
_SMALL = 1000
_FACE = {
    "box": [100.0, 100.0, 300.0, 350.0],
    "height_px": 250,
    "person": "ada",
    "target": "nobody-17",
    "dssim": 0.0069,
    "dssim_224": 0.0063,
    "colour_mean": 0.4,
    "colour_p99": 2.8,
    "moved": 0.018,
    "cosine_own": {"dlib": -0.4, "facenet-casia": -0.3, "lightcnn": 0.1, "sface": 0.0},
    "cosine_target": {"dlib": 0.4, "facenet-casia": 0.3, "lightcnn": 0.2, "sface": 0.3},
    "steps": 48,
}
_REPORT = json.dumps({"faces": 3 * [_FACE], "seconds": 3.1, "fingerprint": "8-dlib", "mode": "standard"})
_STATES = ("published",) * 46 + ("held", "superseded", "gone", "ready")


def main() -> None:
    """Print one line for each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        small = measured(Path(name) / "small", _SMALL)
        large = measured(Path(name) / "large", rows)
    print(f"{'page':32} {f'{_SMALL} rows':>12} {f'{rows} rows':>14}  ratio, CPU ms")
    for page, cost_ms in large.items():
        print(f"{page:32} {small[page]:12.1f} {cost_ms:14.1f} {cost_ms / small[page]:6.1f}")


def measured(folder: Path, rows: int) -> dict[str, float]:
    """CPU milliseconds for each page of a ledger with so many rows, the median of some repetitions."""
    for part in ("outbox", "sync", "state"):
        (folder / part).mkdir(parents=True)
    user = UserSettings(name="ada", outboxes=(folder / "outbox",), sync=folder / "sync")
    settings = Settings(state_dir=folder / "state", users=(user,))
    fill(settings.state_dir / LEDGER_NAME, folder / "outbox", rows)
    context = Context(settings, folder / "fawkesd.yaml")
    overview, looks = Overview(context), Looks(context)
    middle = f"after={rows / 2}:{rows // 2}"
    pages: dict[str, Callable[[], object]] = {
        "overview": lambda: overview.page(request("")),
        "overview, what is in work": lambda: overview.in_work(request("")),
        "photos, first page": lambda: looks.photos(request("")),
        "photos, in the middle": lambda: looks.photos(request(middle)),
        "photos, name that one has": lambda: looks.photos(request("q=IMG_000042")),
        "photos, name that none has": lambda: looks.photos(request("q=nobody")),
        "photos, one folder": lambda: looks.photos(request("folder=2011/trip-3")),
        "photos, held": lambda: looks.photos(request("show=held")),
        "one photo": lambda: looks.photo(request("", id=rows // 2)),
    }
    costs = {}
    for page, make in pages.items():
        make()
        times_s = []
        for _ in range(_REPEATS):
            started_s = time.process_time()
            make()
            times_s.append(time.process_time() - started_s)
        costs[page] = 1000 * statistics.median(times_s)
    return costs


def fill(ledger: Path, outbox: Path, rows: int) -> None:
    """Write rows, one second apart."""
    Ledger(ledger).close()
    database = sqlite3.connect(ledger)
    database.executemany(
        "INSERT INTO photos (id, user, root, path, generation, state, dev, ino, size, mtime_ns, input_sha256,"
        " output_path, output_sha256, reason, report, created, updated)"
        " VALUES (?, 'ada', ?, ?, 1, ?, 1, ?, 5000000, ?, ?, ?, ?, ?, ?, ?, ?)",
        made(str(outbox).encode(), rows),
    )
    database.commit()
    database.execute("ANALYZE")
    database.close()


def made(root: bytes, rows: int) -> Iterator[tuple[object, ...]]:
    """Yield the rows, which lie in 16 years with 20 folders each."""
    for n in range(1, rows + 1):
        path = f"{2010 + n * 16 // (rows + 1)}/trip-{n % 20}/IMG_{n:06}.jpg".encode()
        state = _STATES[n % len(_STATES)]
        is_published = state == "published"
        yield (
            *(n, root, path, state, n, n * 10**9, f"{n:064x}"),
            *((path, f"{n + (1 << 200):064x}") if is_published else (None, None)),
            "no face was found, so nothing was cloaked" if state == "held" else None,
            _REPORT if is_published else None,
            *(float(n), float(n)),
        )


def request(query: str, **parameters: object) -> Request:
    """A request as the guard lets it through."""
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/photos",
            "query_string": query.encode(),
            "headers": [],
            "path_params": parameters,
            "state": {"session": None, "csrf": "-"},
        }
    )


if __name__ == "__main__":
    main()
