"""Protection against the size of a tracker's gallery: how many people, and how many photos of each user."""

from __future__ import annotations

from collections.abc import Collection

from fawkes_engine.evaluation.metrics.rates import Rate
from fawkes_engine.evaluation.studies.material import Faces, Material, StudyPhoto, people_of, recognised
from fawkes_engine.evaluation.studies.result import Row, Study, Table
from fawkes_engine.evaluation.trackers.tracker import Tracker

KNOWN_PEOPLE = (
    65,
    530,
)  # identities of PubFig and FaceScrub, the trackers' data in Fawkes (Shan et al. 2020)
PHOTOS = (2, 5, 10)  # of each user


def gallery(material: Material) -> Study:
    """Measure recognition for each of KNOWN_PEOPLE, for everybody there is, and for each of PHOTOS."""
    others = [*material.others, *material.more_others]
    most = len(material.users) + len(people_of(others))
    sizes = [*(size for size in KNOWN_PEOPLE if len(material.users) < size < most), most]
    cases = [(tracker, learned) for tracker in material.trackers for learned in material.learned]
    by_people, by_photos = [], []
    for tracker, learned in cases:
        known = material.faces(tracker, material.learned[learned])
        labels = (tracker.name, learned)
        rates = [
            _rate(material, tracker, known, _first_people(others, size - len(material.users)))
            for size in sizes
        ]
        by_people.append(Row(labels, tuple(rates)))
        usual = {photo.name for photo in material.others}
        rates = [
            _rate(material, tracker, known.of(first_photos(material.learned[learned], count)), usual)
            for count in PHOTOS
        ]
        by_photos.append(Row(labels, tuple(rates)))
    labels = ("tracker (nearest photo)", "photos learned")
    return material.study(
        title="Size of the gallery",
        method="How many people the tracker knows, the users among them, and how many photos of each user.",
        tables=(
            Table(
                "Recognised, by people known", labels, tuple(f"{n} people" for n in sizes), tuple(by_people)
            ),
            Table(
                f"Recognised, by photos of each user; {len(people_of(material.others))} other people",
                labels,
                tuple(f"{n} photos" for n in PHOTOS),
                tuple(by_photos),
            ),
        ),
    )


def first_photos(photos: Collection[StudyPhoto], count: int) -> set[str]:
    """Return the names of each person's first `count` photos."""
    by_person: dict[str, list[str]] = {}
    for photo in photos:
        by_person.setdefault(photo.person, []).append(photo.name)
    return {name for names in by_person.values() for name in names[:count]}


def _first_people(photos: Collection[StudyPhoto], count: int) -> set[str]:
    wanted = set(people_of(photos)[:count])
    return {photo.name for photo in photos if photo.person in wanted}


def _rate(material: Material, tracker: Tracker, known: Faces, others: Collection[str]) -> Rate:
    piles = [material.faces(tracker, pile) for pile in (material.others, material.more_others) if pile]
    asked = material.faces(tracker, material.tested).labelled
    galleries = [known.labelled, *(pile.of(others).labelled for pile in piles)]
    return recognised(galleries, asked, seed=material.seed)
