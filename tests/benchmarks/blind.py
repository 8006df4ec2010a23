"""Whether people see that a photo was cloaked: sets of faces for viewers who know nothing, and their answers counted.

    fawkesd evaluate --data PORTRAITS --mode standard --keep --out STANDARD ...   (and so on: what is compared)
    python -m tests.benchmarks.blind make --data PORTRAITS --cloaked standard=STANDARD/published/users --out DIR
    python -m tests.benchmarks.blind count --out DIR

Of each photo that was published in every variant, the largest face and what is around it is cut out and shown at 100 %.
There are two questions, and a set of folders DIR/alone/viewer-N and DIR/pairs/viewer-N for each. A viewer gets one
folder, sees every photo once, in another variant than the other viewers do, and writes `answers.csv` beside the
pictures, a line each:

    alone: the picture's name, yes or no (was this face altered?), how much shows (0 to 10), where
    pairs: the pair's number, a or b (which of the two was altered?)

A viewer looks at pictures alone, not at their files, whose sizes differ. The controls are the photo as it was (alone)
and as JPEG of quality 75 and 60. DIR/key.json tells what was shown, and is not for viewers.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from PIL import Image

from fawkes_engine.evaluation import load_publication
from fawkes_engine.evaluation.data.publication import Published
from fawkes_engine.face.canvas import region_of
from fawkes_engine.face.detect import Pixels
from fawkes_engine.photo.decode import decode

_KEY = "key.json"
_AROUND = 0.35  # of the face's region, on each side
_ORIGINAL = "as it was"


def main() -> None:
    """Make the sets, or count the answers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("make", "count"))
    parser.add_argument(
        "--data", type=Path, help="the originals, as for fawkesd evaluate (its users/, or itself)"
    )
    parser.add_argument("--cloaked", nargs="+", metavar="NAME=FOLDER", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "make":
        folders = dict(one.split("=", 1) for one in args.cloaked)
        cloaked = {name: load_publication(Path(folder)).published for name, folder in folders.items()}
        faces = list(_faces(args.data, cloaked, args.photos, args.seed))
        make(faces, args.out, args.seed)
    else:
        count(args.out)


@dataclass(frozen=True)
class Face:
    """A face in all variants. shown: name of the variant -> the face and what is around it."""

    shown: Mapping[str, Image.Image]

    @property
    def altered(self) -> dict[str, Image.Image]:
        """All variants but the photo as it was."""
        return {name: picture for name, picture in self.shown.items() if name != _ORIGINAL}


def make(faces: Sequence[Face], out: Path, seed: int) -> None:
    """Write a folder for each viewer of each question, and the key: file or pair -> variant (and which is altered)."""
    shuffled = random.Random(seed)
    key: dict[str, dict[str, list[str]]] = {}
    for viewer, numbers, variants in _viewers("alone", list(faces[0].shown), len(faces), shuffled):
        key[viewer] = {}
        for face, number, variant in zip(faces, numbers, variants, strict=True):
            key[viewer][f"{number}.png"] = [variant]
            _save(face.shown[variant], out / viewer / f"{number}.png")
    for viewer, numbers, variants in _viewers("pairs", list(faces[0].altered), len(faces), shuffled):
        key[viewer] = {}
        for face, number, variant in zip(faces, numbers, variants, strict=True):
            altered, other = shuffled.sample("ab", 2)
            key[viewer][str(number)] = [variant, altered]
            _save(face.shown[variant], out / viewer / f"{number}-{altered}.png")
            _save(face.shown[_ORIGINAL], out / viewer / f"{number}-{other}.png")
    (out / _KEY).write_text(json.dumps(key, indent=1))


def _viewers(
    question: str, variants: Sequence[str], faces: int, shuffled: random.Random
) -> Iterator[tuple[str, list[int], list[str]]]:
    """As many viewers as variants: a viewer's folder, a random number for each face, and the variant it is shown in."""
    for viewer in range(len(variants)):
        numbers = shuffled.sample(range(100, 1000), faces)
        yield (
            f"{question}/viewer-{viewer}",
            numbers,
            [variants[(i + viewer) % len(variants)] for i in range(faces)],
        )


def count(out: Path) -> None:
    """Print, for each variant, how many pictures were called altered, and in how many pairs that was seen."""
    key: dict[str, dict[str, list[str]]] = json.loads((out / _KEY).read_text())
    called: defaultdict[str, list[bool]] = defaultdict(list)
    shows: defaultdict[str, list[float]] = defaultdict(list)
    told: defaultdict[str, list[bool]] = defaultdict(list)
    for viewer, shown in key.items():
        answers = _answers(out / viewer / "answers.csv")
        for name, (variant, *altered) in shown.items():
            answer = answers[name]
            if altered:
                told[variant].append(answer[0].lower() == altered[0])
            else:
                called[variant].append(answer[0].lower() == "yes")
                shows[variant].append(float(answer[1]))
    for variant, yes in called.items():
        pairs = (
            f"; told from the original in {sum(told[variant])} of {len(told[variant])} pairs"
            if variant in told
            else ""
        )
        print(
            f"{variant}: called altered {sum(yes)} of {len(yes)}, shows {mean(shows[variant]):.1f} of 10{pairs}"
        )


def _answers(file: Path) -> dict[str, list[str]]:
    with file.open(newline="") as lines:
        return {name.strip(): [field.strip() for field in fields] for name, *fields in csv.reader(lines)}


def _faces(data: Path, cloaked: Mapping[str, Sequence[Published]], photos: int, seed: int) -> Iterator[Face]:
    """The largest face of photos that every variant published, chosen at random."""
    by_photo = {name: {one.photo: one for one in published} for name, published in cloaked.items()}
    common = sorted(set.intersection(*map(set, by_photo.values())))
    for photo in sorted(random.Random(seed).sample(common, min(photos, len(common)))):
        original = decode((data / photo).read_bytes()).pixels
        box = _around_largest_face(next(iter(by_photo.values()))[photo], original)
        variants = {
            _ORIGINAL: original,
            "JPEG 75": _compressed(original, 75),
            "JPEG 60": _compressed(original, 60),
        }
        variants |= {name: decode(published[photo].data).pixels for name, published in by_photo.items()}
        yield Face({name: Image.fromarray(pixels).crop(box) for name, pixels in variants.items()})


def _around_largest_face(published: Published, pixels: Pixels) -> tuple[int, int, int, int]:
    """Return the box to cut out of a photo: x0, y0, x1, y1."""
    largest = max((face.report.box for face in published.faces), key=lambda box: box[3] - box[1])
    x0, y0, x1, y1 = region_of(largest, pixels)
    right, down = round(_AROUND * (x1 - x0)), round(_AROUND * (y1 - y0))
    height, width = pixels.shape[:2]
    return max(0, x0 - right), max(0, y0 - down), min(width, x1 + right), min(height, y1 + down)


def _compressed(pixels: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return decode(file.getvalue()).pixels


def _save(picture: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)


if __name__ == "__main__":
    main()
