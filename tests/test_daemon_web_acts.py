"""The actions of the page, sent as its forms send them; no service runs, so that they change the ledger themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Home
from faulty import Counter, column
from pages import Answer, Client, page_of, with_page
from twins import Deed, any_target, make_photo

from daemon.config.settings import Settings, UserSettings, WatchSettings
from daemon.service.run import once
from daemon.state.targets import FileTargetStore

FACTORY = "twins:make_faithful_engine"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Photo 1 is published, 2 is held for no face, 3 waits for review."""
    folder = tmp_path_factory.mktemp("home")
    outbox, sync = folder / "outbox", folder / "sync"
    outbox.mkdir()
    sync.mkdir()
    user = UserSettings(name="ada", outboxes=(outbox,), sync=sync)
    settings = Settings(state_dir=folder / "state", users=(user,), watch=WatchSettings(settle_s=0.1))
    (outbox / "a.jpg").write_bytes(make_photo())
    once(settings, Counter(), FACTORY)
    (outbox / "b.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(settings, Counter(), FACTORY)
    (outbox / "c.jpg").write_bytes(make_photo(seed=1))
    users = (user.model_copy(update={"review": True}),)
    settings = settings.model_copy(update={"users": users})
    once(settings, Counter(), FACTORY)
    return with_page(Home(outbox, sync, settings))


@pytest.fixture(scope="module")
def owner(home: Home) -> Iterator[Client]:
    with page_of(home) as client:
        yield client


def said(owner: Client, answer: Answer) -> str:
    """What the page says after an action, which it leads to."""
    assert answer.status == 303
    return owner.get(answer.headers["location"]).text


def state(home: Home, number: int) -> str:
    (found,) = column(home, "state", f"id = {number}")
    return str(found)


def test_a_photo_in_review_is_shown_and_rejected(home: Home, owner: Client) -> None:
    assert "c.jpg" in owner.get("/review").text
    assert owner.get("/photos/3/cloaked").status == 200

    for fields in ({}, {"result": "0" * 64}):
        assert "made again meanwhile" in said(owner, owner.post("/photos/3/approve", fields))
    assert 'role="alert"' in said(owner, owner.post("/review/approve-all"))
    assert "0 photo(s)" in said(owner, owner.post("/review/approve-all", {"until": "1.5"}))
    assert state(home, 3) == "review"

    page = said(owner, owner.post("/photos/3/reject", {"back": "review", "following": "4"}))

    assert "c.jpg" in page
    assert "Nothing waits for you" in page
    assert state(home, 3) == "rejected"


def test_what_does_not_fit_is_told_and_changes_nothing(home: Home, owner: Client) -> None:
    for path in (
        "/photos/2/approve",
        "/photos/2/recall",
        "/photos/1/publish",
        "/photos/99/redo",
        "/photos/1/melt",
    ):
        assert 'role="alert"' in said(owner, owner.post(path)), path
    for how in (
        {"mode": "invisible"},
        *({"mode": "strong", "strength": text} for text in ("101", "-1", "half")),
    ):
        assert 'role="alert"' in said(owner, owner.post("/photos/1/redo", how)), how
    assert (state(home, 1), state(home, 2)) == ("published", "held")
    assert owner.post("/service/melt").status == 404
    assert owner.post("/audit", {"user": "eve"}).status == 404
    assert owner.post("/").status == 405


def test_an_audit_of_too_few_photos_says_what_is_missing(owner: Client) -> None:
    page = said(owner, owner.post("/audit", {"user": "ada"}))

    assert "at least two published photos that show ada alone" in page
    assert "There is 1 so far" in page
    assert "--published" not in page


def test_who_is_not_known_by_a_face_is_told(owner: Client) -> None:
    assert "no clean face yet" in owner.get("/people").text


def test_a_notice_is_shown_once(owner: Client) -> None:
    answer = owner.post("/photos/1/publish")

    background = {"HX-Request": "true"}  # what the page asks for by itself shows no notice
    assert 'role="alert"' not in owner.ask("GET", answer.headers["location"], None, background).text
    assert 'role="alert"' in said(owner, answer)
    assert 'role="alert"' not in said(owner, answer)


def test_everything_is_paused_and_resumed(owner: Client) -> None:
    assert "paused" in said(owner, owner.post("/service/pause"))
    assert 'action="/service/resume"' in owner.get("/").text
    assert "resumed" in said(owner, owner.post("/service/resume"))
    assert 'action="/service/pause"' in owner.get("/").text


def test_a_stranger_is_forgotten_and_a_user_is_not(home: Home, owner: Client) -> None:
    store = FileTargetStore(home.settings.targets_dir)
    for name in ("~one", "~two", "~three"):
        store.add(name, any_target())
    assert "~two" in owner.get("/people").text

    for person in ("ada", "~four", "../ledger", ""):
        assert "Nobody of that name" in said(owner, owner.post("/people/forget", {"person": person}))
    assert "1 forgotten" in said(owner, owner.post("/people/forget", {"person": "~two"}))
    assert store.people() == ["ada", "~one", "~three"]
    assert "2 forgotten" in said(owner, owner.post("/people/forget", {"person": "~"}))
    assert store.people() == ["ada"]


def test_a_photo_without_a_face_is_published_by_hand(home: Home, owner: Client) -> None:
    shown = owner.get("/photos/2").text
    assert "Publish without a face" in shown
    assert "as before" not in shown  # a held photo is cloaked again in another mode only
    assert "“Publish without a face” publishes it all the same" in shown  # the button, not the command
    owner.post("/photos/2/publish")
    assert state(home, 2) == "ready"


def test_a_published_photo_is_cloaked_again(home: Home, owner: Client) -> None:
    said(owner, owner.post("/photos/1/redo"))
    assert state(home, 1) == "superseded"
