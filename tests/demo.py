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
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps
from skimage import data

FAWKESD = [sys.executable, "-m", "daemon"]
LONGEST_WAIT_S = 600.0
PANEL_PX = 400  # height of each picture
LINE_PX = 28  # height of a line of text
GAP_PX = 8
DIFFERENCE_TIMES = 8
NEXT = """
Next, for your own photos:
    .venv/bin/fawkesd init     asks for a name and two folders, and writes a commented configuration
    .venv/bin/fawkesd once     cloaks what waits in the outbox; `run` keeps watching
    .venv/bin/fawkesd status   what was published, waits or is held, and why"""


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
    report = json.loads(run("why", str(photo), "--json", config=config))["report"]
    print(f"report    {json.dumps(report)}")
    picture = here / "before-after.png"
    draw(photo, published, report["faces"][0]).save(picture)
    print(f"picture   {picture}   (a face before, after, and the difference)")
    print(NEXT)
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


def draw(before: Path, after: Path, face: dict[str, Any]) -> Image.Image:
    """Return a face before and after, enlarged, with their difference and what recognisers say.

    face: of the report, as `fawkesd why --json` prints it.
    """
    pair = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in (before, after)]
    x0, y0, x1, y1 = face["box"]
    margin = (y1 - y0) / 4
    box = tuple(round(edge) for edge in (x0 - margin, y0 - margin, x1 + margin, y1 + margin))
    width = round(PANEL_PX * (box[2] - box[0]) / (box[3] - box[1]))
    panels = [image.crop(box).resize((width, PANEL_PX), Image.Resampling.LANCZOS) for image in pair]
    was, now = (np.asarray(panel, dtype=np.float32) for panel in panels)
    difference = np.clip(128 + DIFFERENCE_TIMES * (now - was), 0, 255).astype(np.uint8)
    cosines = ", ".join(f"{name} {cosine:.2f}" for name, cosine in face["cosine_own"].items())
    titles = ("before", "after", f"difference, times {DIFFERENCE_TIMES}")
    sheet = Image.new("RGB", (3 * (width + GAP_PX) - GAP_PX, PANEL_PX + 2 * LINE_PX), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LINE_PX * 0.6)
    for column, (title, panel) in enumerate(zip(titles, (*panels, Image.fromarray(difference)), strict=True)):
        left = column * (width + GAP_PX)
        pen.text((left, LINE_PX / 5), title, fill="black", font=font)
        sheet.paste(panel, (left, LINE_PX))
    words = f"How alike both faces are to recognisers (1: the same face, 0: nothing alike): {cosines}"
    pen.text((0, PANEL_PX + LINE_PX * 1.2), words, fill="black", font=font)
    return sheet


if __name__ == "__main__":
    sys.exit(main())
