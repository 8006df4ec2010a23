"""Show the main job: a photo dropped in an outbox comes out cloaked in a sync folder (`make demo`).

    python -m tests.demo [--photo FILE] [--out DIR]

The real daemon runs, on a new configuration, state and folders under --out. The sample photo is the NASA portrait
of astronaut Eileen Collins (public domain), which scikit-image ships.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

FAWKESD = [sys.executable, "-m", "daemon"]
LONGEST_WAIT_S = 600.0


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--photo", type=Path, help="your own JPEG instead of the sample")
    arguments.add_argument(
        "--out", type=Path, default=Path("demo-out"), help="folder to work in, emptied first"
    )
    options = arguments.parse_args()
    here = options.out.absolute()
    shutil.rmtree(here, ignore_errors=True)
    outbox, sync, config = here / "outbox", here / "sync", here / "fawkesd.yaml"
    here.mkdir(parents=True)
    os.environ["XDG_STATE_HOME"] = str(here / "state")
    run("init", "--user", "me", "--outbox", str(outbox), "--sync", str(sync), "--create", config=config)
    with daemon_running(config):
        photo = drop(options.photo, outbox)
        print(f"dropped   {photo}", flush=True)
        published = wait_for(sync / photo.name, config)
        print(f"published {published}")
    report = json.loads(run("why", str(photo), "--json", config=config))
    print(f"report    {json.dumps(report['report'])}")
    print(f"picture   {draw(photo, published, here / 'before-after.png')}   (before | after)")
    return 0


@contextlib.contextmanager
def daemon_running(config: Path) -> Iterator[None]:
    """Run `fawkesd run` until the block ends."""
    process = subprocess.Popen([*FAWKESD, "run", "--config", str(config)])
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def run(command: str, *options: str, config: Path) -> str:
    """Run a command of fawkesd and return what it printed."""
    whole = [*FAWKESD, command, *options, "--config", str(config)]
    return subprocess.run(whole, check=True, capture_output=True, text=True).stdout


def drop(photo: Path | None, outbox: Path) -> Path:
    """Put the photo, or the sample, into the outbox."""
    if photo:
        return Path(shutil.copy(photo, outbox))
    sample = outbox / "astronaut.jpg"
    portrait: npt.NDArray[np.uint8] = data.astronaut()  # type: ignore[no-untyped-call]
    Image.fromarray(portrait).save(sample, quality=95, subsampling=0)
    return sample


def wait_for(file: Path, config: Path) -> Path:
    """Wait until the file is published; say so if the photo is held instead."""
    give_up = time.monotonic() + LONGEST_WAIT_S
    while not file.exists():
        held = json.loads(run("status", "--json", config=config))["users"][0]["held"]
        if held or time.monotonic() > give_up:
            sys.exit(f"not published: {held or 'it took too long'}")
        time.sleep(0.5)
    return file


def draw(before: Path, after: Path, picture: Path) -> Path:
    """Write both photos side by side, at 100 %."""
    Image.fromarray(np.hstack([np.asarray(Image.open(p).convert("RGB")) for p in (before, after)])).save(
        picture
    )
    return picture


if __name__ == "__main__":
    sys.exit(main())
