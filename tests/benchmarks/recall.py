"""How many faces the detector finds in full photographs, against the count of another detector.

    python -m tests.benchmarks.recall --data DIR/photos

DIR/photos holds the photos and INDEX.csv with the columns `file` and `faces_found_dlib_hog`. That count is a guide, not
the truth: photos in which fewer faces are found are listed, to be looked at.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import torch

from fawkes_engine.errors import Refusal
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.photo.decode import decode


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of photos with INDEX.csv")
    folder = parser.parse_args().data
    detector = MtcnnDetector(torch.device("cpu"))
    expected = matched = found = photos = 0
    seconds = 0.0
    with (folder / "INDEX.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            try:
                pixels = decode((folder / row["file"]).read_bytes()).pixels
            except Refusal as refusal:
                print(f"{row['file']}: not read: {refusal}")
                continue
            begun = time.perf_counter()
            faces = len(detector.search(pixels))
            seconds += time.perf_counter() - begun
            guide = int(row["faces_found_dlib_hog"] or 0)
            photos, expected, found = photos + 1, expected + guide, found + faces
            matched += min(faces, guide)
            if faces < guide:
                print(f"{row['file']}: {faces} of {guide}")
    print(
        f"{photos} photos: {matched} of {expected} faces of the guide, {found - matched} more, {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
