"""What a tracker gains by editing photos before learning them, or by another face alignment."""

from __future__ import annotations

from collections.abc import Sequence

from fawkes_engine.evaluation.data.disturb import DISRUPTIONS
from fawkes_engine.evaluation.metrics.rates import Rate
from fawkes_engine.evaluation.studies.gallery import first_photos
from fawkes_engine.evaluation.studies.hog import HogDetector
from fawkes_engine.evaluation.studies.material import Material, StudyPhoto, recognised
from fawkes_engine.evaluation.studies.result import Row, Study, Table
from fawkes_engine.evaluation.trackers.sightings import Detector
from fawkes_engine.evaluation.trackers.tracker import Tracker

PHOTOS = 5  # of each user: half of them suffice, and each is edited once per disruption
_NOTHING = "nothing"
_OTHER_DETECTOR = "aligned by dlib's HOG and landmarks"


def disruption(material: Material) -> Study:
    """Measure recognition after each of DISRUPTIONS of the users' photos, and with another detector for all photos."""
    piles = {}
    for learned, photos in material.learned.items():
        first = first_photos(photos, PHOTOS)
        piles[learned] = [photo for photo in photos if photo.name in first]
    by_tracker: dict[str, list[Row]] = {tracker.name: [] for tracker in material.trackers}
    for doing in (_NOTHING, *DISRUPTIONS, _OTHER_DETECTOR):
        detector = HogDetector() if doing == _OTHER_DETECTOR else None
        worked_on = [_worked_on(photos, doing) for photos in piles.values()]  # once for all trackers
        for tracker in material.trackers:
            rates = tuple(_rate(material, tracker, photos, detector) for photos in worked_on)
            by_tracker[tracker.name].append(Row((tracker.name, doing), rates))
    rows = [row for rows in by_tracker.values() for row in rows]
    return material.study(
        title="Disruption by the tracker",
        method=f"The tracker edits the users' photos ({PHOTOS} of each) before it learns them; those of other "
        "people and the test photos stay as they are, except that the other detector is used on all.",
        tables=(Table("Recognised", ("tracker (nearest photo)", "what it does"), tuple(piles), tuple(rows)),),
    )


def _rate(
    material: Material, tracker: Tracker, photos: Sequence[StudyPhoto], detector: Detector | None
) -> Rate:
    others, asked = (
        material.faces(tracker, pile, detector).labelled for pile in (material.others, material.tested)
    )
    gallery = [others, material.faces(tracker, photos, detector).labelled]
    return recognised(gallery, asked, seed=material.seed)


def _worked_on(photos: Sequence[StudyPhoto], doing: str) -> Sequence[StudyPhoto]:
    if doing not in DISRUPTIONS:
        return photos
    return [StudyPhoto(photo.name, DISRUPTIONS[doing](photo.data)) for photo in photos]
