"""How the work on a photo begins and ends, rule by rule: a real ledger, real folders, no engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from conftest import Home
from twins import TinyEngine, any_target, make_photo, moved_toward

from daemon.fs.files import snapshot_of
from daemon.model import REDO_REASON, Change, Outbox, Photo, Settled, Source, State
from daemon.publish.destinations import Destination, Destinations
from daemon.publish.marker import MARKER_NAME
from daemon.publish.publisher import Publisher
from daemon.publish.sync_folder import SyncFolder
from daemon.service.admission import Admission
from daemon.service.outcomes import Outcomes
from daemon.state.ledger import Ledger
from daemon.state.result_cache import ResultCache
from daemon.state.targets import FileTargetStore
from daemon.timing import DEFAULT_TIMING
from daemon.watch.outboxes import Outboxes
from daemon.workers.protocol import Refused
from fawkes_engine import MetadataPolicy, Protected, Request

FINGERPRINT = TinyEngine.fingerprint


@dataclass
class Service:
    """Everything around the engine. ended: the photos that are finished. settling: the sources sent back to settle."""

    home: Home
    ledger: Ledger
    ended: list[Photo] = field(default_factory=list)
    settling: list[Source] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.home.settings
        (user,) = settings.users
        self.outbox = Outbox(user.name, self.home.outbox)
        folder = SyncFolder(user.sync, user.staging_dir, self.ledger)
        self.targets = FileTargetStore(settings.targets_dir)
        self.destinations = Destinations(
            [Destination(user.name, folder, Publisher(folder, self.ledger))],
            self.ledger,
            self.targets,
            self.ended.append,
            DEFAULT_TIMING,
        )
        self.destinations.open(0.0)
        outboxes = Outboxes([self.outbox], self.ledger)
        outboxes.check()
        self.results = ResultCache(self.home.state_dir / "results", b"key")
        self.outcomes = Outcomes(
            outboxes,
            self.destinations,
            self.ledger,
            self.results,
            settings.retry,
            debounce=lambda source, _now: self.settling.append(source),
            on_end=self.ended.append,
        )
        self.admission = Admission(self.ledger, self.results, self.outcomes, settings.request)

    def working(self, name: str = "a.jpg", data: bytes | None = None) -> Photo:
        """A photo in the outbox whose work has just begun."""
        source = Source(self.outbox, Path(name))
        source.path.write_bytes(make_photo() if data is None else data)
        return self._admitted(source)

    def renamed(self, photo: Photo, name: str) -> Photo:
        """The same file under another name, whose work has just begun."""
        source = Source(self.outbox, Path(name))
        photo.source.path.rename(source.path)
        return self._admitted(source)

    def _admitted(self, source: Source) -> Photo:
        snapshot = snapshot_of(source.path)
        assert snapshot is not None
        self.ledger.admit([Settled(source, snapshot)])
        photo = self.ledger.latest(source)
        assert photo is not None
        return self.ledger.move(photo, State.WORKING)

    def begun(self, photo: Photo) -> tuple[Photo, Request]:
        work = self.admission.begin(photo, FINGERPRINT, 0.0)
        assert work is not None
        return work.photo, work.request

    def state(self, photo: Photo) -> State:
        return self.ledger.get(photo.id).state


def protected(request: Request) -> Protected:
    (result,) = TinyEngine().protect([request])
    assert isinstance(result, Protected)
    return result


def toward(user: str, target: str, request: Request) -> Protected:
    """A result that shows the user with this target."""
    result = moved_toward(target, user, protected(request))
    assert isinstance(result, Protected)
    return result


@pytest.fixture
def service(home: Home, ledger: Ledger) -> Iterator[Service]:
    home.state_dir.mkdir()
    made = Service(home, ledger)
    yield made
    made.destinations.close()


def test_a_result_is_published_and_the_photo_finished_once(service: Service) -> None:
    photo, request = service.begun(service.working())

    service.outcomes.answered(photo, protected(request), 0.0)

    assert service.home.published() == ["a.jpg"]
    assert [(one.id, one.state) for one in service.ended] == [(photo.id, State.PUBLISHED)]


def test_a_refusal_holds_the_photo_with_its_reason(service: Service) -> None:
    photo, _ = service.begun(service.working())

    service.outcomes.answered(photo, Refused("NoFace", "no face was found"), 0.0)

    (held,) = service.ended
    assert (held.state, held.reason) == (State.HELD, "no face was found")
    assert service.home.published() == []


def test_an_answer_about_a_superseded_photo_changes_nothing(service: Service) -> None:
    photo, request = service.begun(service.working())
    service.ledger.move(photo, State.SUPERSEDED)

    service.outcomes.answered(photo, protected(request), 0.0)

    assert (service.home.published(), service.ended) == ([], [])


def test_a_source_that_is_removed_ends_the_photo(service: Service) -> None:
    photo, request = service.begun(service.working())
    photo.source.path.unlink()

    service.outcomes.answered(photo, protected(request), 0.0)

    assert service.state(photo) is State.GONE
    assert service.home.published() == []


def test_a_source_that_is_away_with_its_outbox_waits(service: Service) -> None:
    photo, request = service.begun(service.working())
    service.home.outbox.rename(service.home.outbox.with_name("unplugged"))

    service.outcomes.answered(photo, protected(request), 0.0)

    assert service.state(photo) is State.READY
    assert service.ended == []


def test_a_source_that_changed_settles_again_and_is_not_published(service: Service) -> None:
    photo, request = service.begun(service.working())
    photo.source.path.write_bytes(make_photo(seed=1) + b"more")

    service.outcomes.answered(photo, protected(request), 0.0)

    assert service.state(photo) is State.SUPERSEDED
    assert service.settling == [photo.source]
    assert service.home.published() == []


def test_photos_that_an_engine_died_with_are_tried_alone_and_held_after_two_deaths_alone(
    service: Service,
) -> None:
    photo = service.working()
    service.outcomes.died([photo], "killed", alone=False)
    waiting = service.ledger.get(photo.id)
    assert (waiting.state, waiting.alone, waiting.engine_deaths) == (State.READY, True, 0)

    for deaths, state in ((1, State.READY), (2, State.HELD)):
        service.outcomes.died([service.ledger.move(waiting, State.WORKING)], "killed", alone=True)
        waiting = service.ledger.get(photo.id)
        assert waiting.state is state
        assert state is State.HELD or waiting.engine_deaths == deaths


def test_a_sync_folder_that_cannot_be_used_pauses_its_user_and_loses_no_result(service: Service) -> None:
    photo, request = service.begun(service.working())
    marker = service.home.sync / MARKER_NAME
    marker.rename(marker.with_name("away"))

    service.outcomes.answered(photo, protected(request), 0.0)

    assert service.destinations.open_users == []
    assert service.state(photo) is State.READY
    marker.with_name("away").rename(marker)
    service.destinations.look(DEFAULT_TIMING.reprobe_s)
    again = service.ledger.move(photo, State.WORKING)
    assert service.admission.begin(again, FINGERPRINT, 0.0) is None  # the cached result needs no engine
    assert service.home.published() == ["a.jpg"]


@pytest.mark.parametrize(
    ("fixed", "stored", "made"),
    [("one", "one", "other"), ("one", "other", "other"), (None, "one", "other"), (None, None, "other")],
)
def test_a_result_toward_another_target_is_not_published_and_made_again(
    service: Service, fixed: str | None, stored: str | None, made: str
) -> None:
    """Such as one that was kept before the user chose a new target."""
    photo, request = service.begun(service.working())
    if fixed:
        service.ledger.targets.fix("ada", fixed)
    if stored:
        service.targets.add("ada", replace(any_target(), identity=stored))
    service.results.keep(photo, toward("ada", made, request))
    kept = service.results.find(photo, FINGERPRINT)
    assert kept is not None

    service.outcomes.answered(photo, kept, 0.0)

    assert (service.home.published(), service.state(photo)) == ([], State.READY)
    assert service.ledger.targets.of("ada") == fixed
    again = service.ledger.move(service.ledger.get(photo.id), State.WORKING)
    assert service.admission.begin(again, FINGERPRINT, 0.0) is not None


def test_a_published_photo_fixes_the_target_of_each_person_in_it_but_of_no_stranger(service: Service) -> None:
    photo, request = service.begun(service.working())
    service.targets.add("ada", replace(any_target(), identity="one"))
    result = toward("ada", "one", request)
    faces = [replace(result.report.faces[0], person=p, target=f"of {p}") for p in ("bob", "~0123")]
    report = replace(result.report, faces=(*result.report.faces, *faces))

    service.outcomes.answered(photo, replace(result, report=report), 0.0)

    assert service.home.published() == ["a.jpg"]
    assert [service.ledger.targets.of(person) for person in ("ada", "bob", "~0123")] == [
        "one",
        "of bob",
        None,
    ]


def test_failures_back_off_and_hold_the_photo_in_the_end(service: Service) -> None:
    retry = service.home.settings.retry
    photo = service.working()
    waits = []
    for _ in range(retry.attempts - 1):
        before = time.time()
        service.outcomes.later(service.ledger.get(photo.id), "the disk failed")
        waits.append(service.ledger.queue.next_ready_at([service.outbox]) or before)
        photo = service.ledger.move(service.ledger.get(photo.id), State.WORKING)
    service.outcomes.later(photo, "the disk failed")

    assert service.state(photo) is State.HELD
    assert waits == sorted(waits)
    assert service.ended[-1].reason == "the disk failed"


def test_a_published_copy_that_comes_back_is_held(service: Service) -> None:
    photo, request = service.begun(service.working())
    service.outcomes.answered(photo, protected(request), 0.0)
    copy = service.working("copy.jpg", (service.home.sync / "a.jpg").read_bytes())

    assert service.admission.begin(copy, FINGERPRINT, 0.0) is None

    assert service.state(copy) is State.HELD
    assert "already cloaked" in (service.ledger.get(copy.id).reason or "")


def test_the_same_bytes_again_need_no_engine(service: Service) -> None:
    data = make_photo()
    photo, request = service.begun(service.working(data=data))
    service.outcomes.answered(photo, protected(request), 0.0)
    photo.source.path.unlink()
    again = service.working(data=data)

    assert again.generation == 2
    assert service.admission.begin(again, FINGERPRINT, 0.0) is None

    assert service.state(again) is State.PUBLISHED
    assert service.home.published() == ["a.jpg"]


def test_another_engine_works_on_the_same_bytes_again(service: Service) -> None:
    data = make_photo()
    photo, request = service.begun(service.working(data=data))
    service.outcomes.answered(photo, protected(request), 0.0)
    photo.source.path.unlink()

    assert service.admission.begin(service.working(data=data), "another engine", 0.0) is not None


@pytest.mark.parametrize(("name", "reason"), [("a\n.jpg", "control characters"), ("\udcff.jpg", "UTF-8")])
def test_a_name_that_sync_tools_refuse_is_held(service: Service, name: str, reason: str) -> None:
    photo = service.working(name)

    assert service.admission.begin(photo, FINGERPRINT, 0.0) is None

    assert reason in (service.ledger.get(photo.id).reason or "")


def test_what_the_engine_had_and_did_not_answer_waits_again(service: Service) -> None:
    first, second = service.working("a.jpg"), service.working("b.jpg", make_photo(seed=1))
    service.ledger.move(second, State.HELD)

    service.outcomes.put_back([first, replace(second, state=State.WORKING)])

    assert [service.state(photo) for photo in (first, second)] == [State.READY, State.HELD]


def test_a_renamed_photo_needs_no_engine_and_its_copy_moves(service: Service) -> None:
    photo, request = service.begun(service.working())
    service.outcomes.answered(photo, protected(request), 0.0)
    renamed = service.renamed(photo, "b.jpg")

    assert service.admission.begin(renamed, FINGERPRINT, 0.0) is None

    assert service.home.published() == ["b.jpg"]
    assert [one.state for one in service.ended] == [State.PUBLISHED, State.PUBLISHED]
    assert service.state(photo) is State.GONE


def test_a_photo_that_is_renamed_while_an_engine_works_on_it_is_not_cloaked_again(service: Service) -> None:
    photo, request = service.begun(service.working())
    renamed = service.renamed(photo, "b.jpg")
    service.outcomes.answered(photo, protected(request), 0.0)

    assert service.admission.begin(renamed, FINGERPRINT, 0.0) is None

    assert service.home.published() == ["b.jpg"]


def test_a_renamed_photo_is_made_anew_after_its_metadata_rules_changed(service: Service) -> None:
    photo, request = service.begun(service.working())
    service.outcomes.answered(photo, protected(request), 0.0)
    renamed = service.renamed(photo, "b.jpg")
    service.admission = Admission(
        service.ledger,
        service.results,
        service.outcomes,
        lambda user, data: Request(data, user, metadata=MetadataPolicy(all=False)),
    )

    again, request = service.begun(renamed)
    service.outcomes.answered(again, protected(request), 0.0)

    assert service.home.published() == ["b.jpg"]


def test_a_cached_result_of_other_metadata_rules_is_not_published(service: Service) -> None:
    photo, request = service.begun(service.working())
    service.results.keep(photo, protected(request))

    assert service.results.find(photo, FINGERPRINT) is not None
    assert service.results.find(replace(photo, options="others"), FINGERPRINT) is None


def test_a_photo_to_be_redone_is_not_taken_from_a_copy_of_it(service: Service) -> None:
    data = make_photo()
    for name in ("a.jpg", "b.jpg"):
        photo = service.working(name, data)
        work = service.admission.begin(photo, FINGERPRINT, 0.0)
        if work is not None:
            service.outcomes.answered(work.photo, protected(work.request), 0.0)
    service.ledger.move(service.ledger.get(photo.id), State.SUPERSEDED, Change(reason=REDO_REASON))

    assert service.admission.begin(service.working("b.jpg", data), FINGERPRINT, 0.0) is not None


def test_a_copy_waits_while_its_sync_folder_cannot_be_used(service: Service) -> None:
    photo, request = service.begun(service.working())
    service.outcomes.answered(photo, protected(request), 0.0)
    renamed = service.renamed(photo, "b.jpg")
    marker = service.home.sync / MARKER_NAME
    marker.rename(marker.with_name("away"))

    assert service.admission.begin(renamed, FINGERPRINT, 0.0) is None

    assert service.destinations.open_users == []
    assert (service.state(renamed), service.state(photo)) == (State.READY, State.PUBLISHED)
    assert service.home.published() == ["a.jpg", "away"]
