"""Cosine similarity of clean photos of one person and of strangers, by extractor, as the engine embeds them.

    python -m tests.benchmarks.likeness --data DIR/faces

--data has users/<person>/ and others/<person>/. These cosines determine the limit of `fawkes_engine.pipeline.verify`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from fawkes_engine import extractors
from fawkes_engine.evaluation.data.splits import draw
from fawkes_engine.evaluation.report.text import table
from fawkes_engine.evaluation.trackers.heads import Labelled, Vectors
from fawkes_engine.evaluation.trackers.sightings import Crop, batches, detected, find_faces, read_photos
from fawkes_engine.extractors import Extractor
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.identity.targets import Pool

PERCENTILES = (1, 5, 50, 95, 99)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with users/ and others/")
    parser.add_argument("--extractor", default="dlib", help="name of a registered extractor")
    args = parser.parse_args()
    extractor = extractors.load(args.extractor, Pool.load().mean(args.extractor), torch.device("cpu"))
    split = draw(args.data)
    users, others = (
        embedded(extractor, photos) for photos in ([*split.cloaked, *split.tested], split.others)
    )
    rows = {
        "photos of one person": cosines(users, same_person=True),
        "photos of strangers": cosines(others, same_person=False),
    }
    head = ["cosine between", *(f"p{p}" for p in PERCENTILES)]
    print(table(head, [[n, *(f"{c:.3f}" for c in np.percentile(v, PERCENTILES))] for n, v in rows.items()]))


@torch.no_grad()
def embedded(extractor: Extractor, photos: list[Path] | tuple[Path, ...]) -> Labelled:
    """Embed the face nearest the middle of each photo that shows one."""
    found = detected(find_faces(read_photos(photos), MtcnnDetector(torch.device("cpu"))))
    crop = Crop(extractor.chip_px, extractor.template)
    vectors = torch.cat([extractor.embed(chips) for chips in batches(found, crop)])
    return Labelled(tuple(s.person for s in found), vectors.numpy())


def cosines(faces: Labelled, *, same_person: bool) -> Vectors:
    """Cosines (K,) of all pairs of different photos that show the same person, or of all that do not."""
    names = np.array(faces.names)
    wanted = np.triu((names[:, None] == names[None]) == same_person, k=1)
    pairs: Vectors = (faces.vectors @ faces.vectors.T)[wanted]
    return pairs


if __name__ == "__main__":
    main()
