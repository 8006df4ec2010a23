"""Evaluations of publications whose worth is known, and what is written of them."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_pictures import encoded
from evaluation_pictures import BOX, make_data, photo_of

from fawkes_engine import EvaluationError, FaceReport, evaluation
from fawkes_engine.evaluation import Evaluation, Publication, Run, Split, Tracker, draw, evaluate
from fawkes_engine.evaluation.data.costs import costs
from fawkes_engine.evaluation.data.disturb import DISTURBANCES
from fawkes_engine.evaluation.data.publication import CloakedFace, Held, Published, key
from fawkes_engine.evaluation.protection import CLOAKED, CONTROL, NOISE, OTHERS, TESTED
from fawkes_engine.evaluation.trackers.finetune import fine_tuned
from fawkes_engine.evaluation.trackers.heads import nearest_centroid
from fawkes_engine.evaluation.trackers.sightings import find_faces
from fawkes_engine.evaluation.trackers.tracker import load_trackers
from fawkes_engine.face.mtcnn import MtcnnDetector

pytestmark = pytest.mark.numeric
RUN = Run("2026-11-22T10:00:00+00:00", "fawkesd evaluate --data faces")
OTHER = {"ada": "ben", "ben": "ada"}


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return draw(make_data(tmp_path_factory.mktemp("data")), cloaked=2, tested=2)


@pytest.fixture(scope="module")
def trackers() -> list[Tracker]:
    return load_trackers(["dlib"], torch.device("cpu"))


def published(photo: Path, data: bytes, dssim: float = 0.007) -> Published:
    report = FaceReport(
        BOX, 116, photo.parent.name, "nobody", dssim, 0.006, 0.4, 1.6, 0.01, {"dlib": 0.1}, {"dlib": 0.5}, 60
    )
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    return Published(key(photo), digest, ".jpg", data, True, (CloakedFace(report, 0.99),))


def publication(*photos: Published | Held) -> Publication:
    return Publication(
        "tiny-1",
        {"steps": 60},
        tuple(p for p in photos if isinstance(p, Published)),
        tuple(p for p in photos if isinstance(p, Held)),
        1.5,
    )


@pytest.fixture(scope="module")
def swapped(split: Split) -> Publication:
    """Perfect cloaks: each user publishes the other's face."""
    return publication(
        *(published(p, photo_of(OTHER[p.parent.name], number)) for number, p in enumerate(split.cloaked))
    )


@pytest.fixture(scope="module")
def judged(swapped: Publication, trackers: list[Tracker], split: Split) -> Evaluation:
    return evaluate(
        swapped, trackers, split, disturb=True, fine_tune_epochs=1, portraits=replace(swapped, held=())
    )


def shares(judged: Evaluation, gallery: str) -> dict[str, float]:
    return {r.head: r.recognised.share for r in judged.recognition if r.gallery == gallery}


HEADS = ("nearest", "centroid", "linear", "fine-tuned")


@pytest.mark.parametrize("gallery", [CONTROL, NOISE])
def test_every_head_knows_the_users_from_their_originals_and_through_noise(
    judged: Evaluation, gallery: str
) -> None:
    assert shares(judged, gallery) == dict.fromkeys(HEADS, 1.0)


@pytest.mark.parametrize("gallery", [CLOAKED, *(f"{CLOAKED}, then {name}" for name in DISTURBANCES)])
def test_no_head_knows_the_users_from_somebody_elses_face(judged: Evaluation, gallery: str) -> None:
    assert shares(judged, gallery) == dict.fromkeys(HEADS, 0.0)


def test_unchanged_photos_protect_from_nothing(split: Split, trackers: list[Tracker]) -> None:
    clean = publication(*(published(p, p.read_bytes()) for p in split.cloaked))
    assert set(shares(evaluate(clean, trackers, split), CLOAKED).values()) == {1.0}


def test_every_photo_is_accounted_for(split: Split, trackers: list[Tracker]) -> None:
    first, second, third, last = split.cloaked
    made = publication(
        published(first, photo_of("ada", 0)),
        published(second, _black()),
        Held(key(third), hashlib.sha256(third.read_bytes()).hexdigest(), "NoFace: no face was found"),
        Held(key(last), hashlib.sha256(last.read_bytes()).hexdigest(), "NoFace: no face was found"),
    )
    judged = evaluate(made, trackers, split, heads=["nearest"])
    counted = {pile.name: (pile.photos, pile.undetected) for pile in judged.piles}
    assert counted == {CONTROL: (4, 0), NOISE: (2, 0), CLOAKED: (2, 1), OTHERS: (2, 0), TESTED: (4, 0)}
    assert set(judged.costs.held) == {key(third), key(last)}
    # nothing of the second user was published, so the tracker cannot know that user
    (recognition,) = [r for r in judged.recognition if r.gallery == CLOAKED]
    assert [(o.person, o.tried) for o in recognition.people] == [("ada", 2), ("ben", 2)]
    assert recognition.people[1].recognised == 0


def _black() -> bytes:
    return encoded(np.zeros((200, 200, 3), np.uint8), "JPEG")


def test_only_pytorch_trackers_can_be_fine_tuned(
    swapped: Publication, trackers: list[Tracker], split: Split
) -> None:
    with pytest.raises(EvaluationError, match="only PyTorch trackers"):
        evaluate(swapped, [replace(trackers[0], network=None)], split, fine_tune_epochs=1)


def test_test_photos_without_any_face_are_refused(
    swapped: Publication, trackers: list[Tracker], split: Split, tmp_path: Path
) -> None:
    black = tmp_path / "black.jpg"
    black.write_bytes(_black())
    users = tuple(replace(user, tested=(black,)) for user in split.users)
    with pytest.raises(EvaluationError, match="no face is found"):
        evaluate(swapped, trackers, replace(split, users=users))


@pytest.mark.parametrize("change", ["another file", "another photo"])
def test_a_publication_of_other_photos_is_refused(swapped: Publication, split: Split, change: str) -> None:
    first, *rest = swapped.published
    other = replace(first, original_sha256="0") if change == "another file" else replace(first, photo="x/y")
    with pytest.raises(EvaluationError, match="not among the photos that were cloaked before"):
        replace(swapped, published=(other, *rest)).of(split.cloaked)


def test_fewer_users_take_their_part_of_a_publication(swapped: Publication, split: Split) -> None:
    part = swapped.of(split.users[0].cloaked)
    assert [one.photo for one in part.published] == [key(photo) for photo in split.users[0].cloaked]


def test_fine_tuning_repeats_for_a_seed_and_leaves_the_tracker_alone(
    trackers: list[Tracker], split: Split
) -> None:
    (tracker,) = trackers
    seen = find_faces([(p.parent.name, p.read_bytes()) for p in split.cloaked], MtcnnDetector(tracker.device))
    assert tracker.network is not None
    before = [weight.clone() for weight in tracker.network.parameters()]
    one, again = (fine_tuned(tracker, seen, seen, epochs=2, seed=0) for _ in range(2))
    assert one == again == [sighting.person for sighting in seen]
    assert all(torch.equal(a, b) for a, b in zip(before, tracker.network.parameters(), strict=True))
    assert not any(weight.requires_grad for weight in tracker.network.parameters())


def test_without_an_epoch_fine_tuning_is_the_nearest_centroid(trackers: list[Tracker], split: Split) -> None:
    (tracker,) = trackers
    known, asked = (
        find_faces([(p.parent.name, p.read_bytes()) for p in photos], MtcnnDetector(tracker.device))
        for photos in ([*split.cloaked, *split.others], split.tested)
    )
    by_rule = nearest_centroid(tracker.describe(known), tracker.describe(asked).vectors)
    assert fine_tuned(tracker, known, asked, epochs=0, seed=0) == by_rule


def test_a_publication_comes_back_from_disk_as_it_was(swapped: Publication, tmp_path: Path) -> None:
    held = Held("ada/9.jpg", "00", "NoFace: no face was found")
    png = replace(swapped.published[0], photo="ada/0.png", suffix=".jpg")
    whole = replace(swapped, held=(held,), published=(*swapped.published, png))
    evaluation.save_publication(whole, tmp_path / "kept")
    assert evaluation.load_publication(tmp_path / "kept") == whole


def test_a_folder_that_was_not_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="is missing; name a folder"):
        evaluation.load_publication(tmp_path)
    (tmp_path / "publication.json").write_text("{}")
    with pytest.raises(EvaluationError, match="is damaged"):
        evaluation.load_publication(tmp_path)


def test_costs_are_those_of_all_published_faces(split: Split) -> None:
    made = publication(
        *(
            published(p, b"", dssim)
            for p, dssim in zip(split.cloaked, (0.001, 0.002, 0.003, 0.010), strict=True)
        )
    )
    measured = costs(
        replace(made, published=(replace(made.published[0], as_user=False), *made.published[1:]))
    )
    dssim = measured.visibility["dssim"]
    assert (dssim.mean, dssim.median, dssim.smallest, dssim.largest) == pytest.approx(
        (0.004, 0.0025, 0.001, 0.01)
    )
    assert measured.cosines["own, dlib"].mean == pytest.approx(0.1)
    assert measured.as_stranger == [key(split.cloaked[0])]
    assert measured.seconds_per_photo == 1.5


def test_a_publication_of_nothing_has_costs_without_figures() -> None:
    measured = costs(publication(Held("ada/0.jpg", "00", "NoFace: no face was found")))
    assert (measured.published, measured.faces, measured.visibility) == (0, 0, {})


def test_the_json_has_everything(judged: Evaluation) -> None:
    told = json.loads(evaluation.as_json(judged, RUN))
    assert told["command"] == RUN.command
    assert told["date"] == RUN.date
    assert told["fingerprint"] == "tiny-1"
    assert told["settings"] == {"steps": 60}
    assert told["seed"] == 0
    assert told["trackers"] == [{"name": "dlib", "input": "dlib", "sha256": None}]
    assert told["users"] == ["ada", "ben"]
    people = [r["people"] for r in told["recognition"]]
    assert [p["tried"] for p in people[0]] == [2, 2]
    assert len(people) == (3 + len(DISTURBANCES)) * len(HEADS)


def test_the_tables_have_a_row_per_gallery_and_the_protection_beside_it(judged: Evaluation) -> None:
    text = evaluation.as_markdown(judged, RUN)
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {CLOAKED} | 0")]
    assert row.count("0.0% [0.0%, 0.0%], protection 100.0%") == len(HEADS)
    (control,) = [line for line in text.splitlines() if line.startswith(f"| {CONTROL} | 100")]
    assert "protection" not in control
    assert "| held by the engine | 0 |" in text
    assert "## Cost of the cloaks on portraits" in text


def test_the_picture_has_a_bar_with_an_interval_per_tracker_head_and_main_gallery(judged: Evaluation) -> None:
    svg = ET.fromstring(evaluation.as_svg(judged))
    titles = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert titles.count(f"{CLOAKED}: 0.0% [0.0%, 0.0%]") == len(HEADS)
    assert len(titles) == 3 * len(HEADS)
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}path"))) == 3 * len(HEADS)
