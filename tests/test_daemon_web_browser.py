"""The page in a real browser, beside the real service with the tiny engine."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from conftest import WITHIN_S, DaemonProcess, Home
from faulty import states
from pages import link_of, page_of, signed_in, with_page
from PIL import Image
from twins import Deed, make_photo

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

AXE = "axe-core@4.14.1"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FACTORY = "twins:make_faithful_engine"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no chromium is installed"),
]

Start = Callable[..., DaemonProcess]
Wait = Callable[[Callable[[], object]], None]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox"], timeout=1000 * WITHIN_S
        )
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page of the site in a browser of its own; fails afterwards if a script or the policy complained."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_one(home: Home, path: str = "/", **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(1000 * WITHIN_S)
        client = signed_in(home.settings)
        url = f"http://{client.own_host}"
        name = f"fawkesd-session-{client.port}"
        context.add_cookies([{"name": name, "value": client.session, "url": url}])
        page = context.new_page()
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url + path)
        return page

    yield open_one
    for context in contexts:
        context.close()
    # a service that ends before the browser, or a copy that has just gone, is no fault of the page
    assert not [one for one in complaints if not one.startswith("Failed to load resource")]


@pytest.fixture
def running(home: Home, start: Start, eventually: Wait) -> Home:
    """A home whose service shows its page."""
    paged = with_page(home)
    paged.write_config()
    daemon = start(paged.settings, factory=FACTORY)
    eventually(lambda: "Uvicorn running" in daemon.log or "web page is at" in daemon.log)
    eventually(lambda: _answers(paged))
    return paged


def _answers(home: Home) -> bool:
    try:
        return signed_in(home.settings).get("/login").status in {200, 303}
    except OSError:
        return False


def reviewing(home: Home) -> Home:
    users = tuple(user.model_copy(update={"review": True}) for user in home.settings.users)
    return replace(home, settings=home.settings.model_copy(update={"users": users}))


def portrait(deed: Deed = Deed.PROTECT, seed: int = 0) -> bytes:
    """NASA's portrait of Eileen Collins, with the colour in its corner that tells the tiny engine what to do."""
    image = Image.fromarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]
    image.paste(deed.value, (0, 0, 16, 16))
    image.paste((seed % 251, 90, 90), (496, 496, 512, 512))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, subsampling=0)
    return stream.getvalue()


def count(page: Any, label: str) -> int:
    """The figure of a tile of the overview."""
    return int(page.locator(".stats li", has_text=label).locator("strong").inner_text())


def cut(page: Any) -> str:
    """How much of the original is shown."""
    return str(page.evaluate("document.querySelector('.stage').style.getPropertyValue('--cut')"))


def test_a_photo_dropped_in_appears_without_a_reload(running: Home, opened: Callable[..., Any]) -> None:
    page, grid = opened(running), opened(running, "/photos")
    page.evaluate("window.isSame = true")
    assert count(page, "published today") == 0

    (running.outbox / "trip").mkdir()
    (running.outbox / "trip" / "a.jpg").write_bytes(portrait())

    grid.locator(".grid li", has_text="a.jpg").wait_for()
    page.locator(".stats li", has_text="published today").locator("strong", has_text="1").wait_for()
    page.locator(".strip img").wait_for()
    assert page.evaluate("window.isSame")
    assert grid.evaluate("document.querySelector('.grid img').decode().then(() => true)")


def test_how_far_the_photos_in_work_are_is_shown_without_a_reload(
    home: Home, start: Start, eventually: Wait, opened: Callable[..., Any]
) -> None:
    paged = with_page(home)
    paged.write_config()
    start(paged.settings, factory="twins:make_faithful_engine")
    eventually(lambda: _answers(paged))
    page = opened(paged)
    page.evaluate("window.isSame = true")

    with paged.engine_held():
        (paged.outbox / "a.jpg").write_bytes(portrait())

        bar = page.get_by_role("progressbar", name="Cloaking")
        page.get_by_text("25 %").wait_for()
        assert bar.get_attribute("value") == "0.25"
        page.get_by_role("heading", name="Cloaking 1 photo").wait_for()
    page.get_by_role("heading", name="All is well").wait_for()
    assert bar.count() == 0
    assert page.evaluate("window.isSame")


def test_a_held_photo_appears_with_its_reason(running: Home, opened: Callable[..., Any]) -> None:
    page = opened(running)

    (running.outbox / "b.jpg").write_bytes(portrait(Deed.REFUSE))

    page.get_by_text("no face was found").wait_for()
    page.get_by_role("link", name="b.jpg").click()
    page.get_by_text("original, uncloaked; nothing of it is published").wait_for()
    assert page.get_by_role("button", name="Try again").is_visible()


def test_the_page_says_that_the_service_is_down_and_shows_the_ledger(
    home: Home, start: Start, eventually: Wait, opened: Callable[..., Any]
) -> None:
    paged = with_page(home)
    with page_of(paged):  # alone, beside a service that shows none
        page = opened(paged)
        page.get_by_role("heading", name="The service is not running").wait_for()
        daemon = start(home.settings, factory=FACTORY)
        (home.outbox / "a.jpg").write_bytes(portrait())
        page.get_by_role("heading", name="All is well").wait_for()
        page.locator(".strip img").wait_for()
        assert daemon.stop() == 0
        page.get_by_role("heading", name="The service is not running").wait_for()
        assert count(page, "published today") == 1


def test_the_slider_and_the_key_flip_between_before_and_after(
    running: Home, opened: Callable[..., Any], eventually: Wait
) -> None:
    (running.outbox / "a.jpg").write_bytes(portrait())
    eventually(lambda: states(running) == ["published"])
    page = opened(running, "/photos/1")
    page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    slider = page.get_by_role("slider", name="How much of the original")

    slider.focus()
    page.keyboard.press("Home")
    assert cut(page) == "0%"
    page.keyboard.press("f")
    assert cut(page) == "100%"
    page.keyboard.press("f")
    assert cut(page) == "0%"
    area = page.locator(".stage").bounding_box()
    page.mouse.move(area["x"] + 0.25 * area["width"], area["y"] + 40)
    page.mouse.down()
    page.mouse.move(area["x"] + 0.75 * area["width"], area["y"] + 40)
    page.mouse.up()
    assert 70 <= float(cut(page).rstrip("%")) <= 80
    page.get_by_role("button", name="100 %").click()
    width = page.evaluate("document.querySelector('.after').getBoundingClientRect().width")
    assert width == 512
    page.get_by_text("Cloak: unknown").wait_for()  # one recogniser alone tells nothing of others
    page.get_by_text("Figures").click()
    page.get_by_text("toward").wait_for()


def test_a_photo_is_unpublished_and_published_again(
    running: Home, opened: Callable[..., Any], eventually: Wait
) -> None:
    (running.outbox / "a.jpg").write_bytes(portrait())
    eventually(lambda: states(running) == ["published"])
    page = opened(running, "/photos/1")
    asked: list[str] = []

    def accept(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", accept)

    page.get_by_role("button", name="Unpublish").click()

    page.get_by_role("status").wait_for()
    eventually(lambda: running.published() == [])
    assert "Remove the published copy?" in asked[0]
    page.goto(re.sub(r"/photos.*", "/photos?show=removed", page.url))
    page.get_by_role("link", name="a.jpg").click()
    page.get_by_role("button", name="Cloak again").click()
    eventually(lambda: running.published() == ["a.jpg"])


def test_a_photo_is_cloaked_again_weaker_by_the_keyboard_and_shown_without_a_reload(
    running: Home, opened: Callable[..., Any], eventually: Wait
) -> None:
    (running.outbox / "a.jpg").write_bytes(portrait())
    eventually(lambda: states(running) == ["published"])
    page = opened(running, "/photos/1")
    strength = page.get_by_role("slider", name="Strength")
    page.wait_for_load_state()
    assert strength.is_disabled()  # of which mode?
    page.get_by_label("Mode").select_option("strong")
    strength.focus()
    page.keyboard.press("End")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.locator("[data-shown]", has_text="95 %").wait_for()

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    page.get_by_text("mode strong, strength 95").wait_for()
    page.get_by_role("slider", name="How much of the original").wait_for()
    page.keyboard.press("f")
    assert cut(page) in {"0%", "100%"}  # the part that was loaded hears keys, too
    assert page.locator("[data-shown]").inner_text() == "as before"


def test_photos_are_reviewed_by_keys(
    home: Home, start: Start, eventually: Wait, opened: Callable[..., Any]
) -> None:
    paged = with_page(reviewing(home))
    paged.write_config()
    for number, name in enumerate(("a.jpg", "b.jpg", "c.jpg", "d.jpg")):
        (paged.outbox / name).write_bytes(portrait(seed=number))
    start(paged.settings, factory=FACTORY)
    eventually(lambda: states(paged) == ["review"] * 4)
    assert paged.published() == []
    eventually(lambda: _answers(paged))
    page = opened(paged, "/review")
    page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")

    page.keyboard.press("a")
    page.get_by_role("status").wait_for()
    eventually(lambda: len(paged.published()) == 1)
    page.wait_for_load_state()  # keys are heard once the script runs
    page.keyboard.press("r")
    page.get_by_text("2 wait").wait_for()
    eventually(lambda: sorted(states(paged)) == ["published", "rejected", "review", "review"])
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Approve all").click()
    page.get_by_text("Nothing waits for you.").wait_for()
    eventually(lambda: len(paged.published()) == 3)


def test_everything_is_reached_by_the_keyboard_alone(
    running: Home, opened: Callable[..., Any], eventually: Wait
) -> None:
    (running.outbox / "a.jpg").write_bytes(portrait())
    eventually(lambda: states(running) == ["published"])
    page = opened(running)

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            script = "(document.activeElement.textContent || '').trim() || document.activeElement.ariaLabel"
            if name in (page.evaluate(script) or ""):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none"
                return
        pytest.fail(f"Tab never comes to {name}")

    tab_to("Skip to the content")
    tab_to("Photos")
    page.keyboard.press("Enter")
    page.wait_for_url("**/photos")
    tab_to("a.jpg")
    page.keyboard.press("Enter")
    page.wait_for_url("**/photos/1")
    tab_to("How much of the original is shown")
    page.keyboard.press("ArrowRight")
    assert cut(page) == "51%"
    tab_to("Cloak again")
    page.keyboard.press("Enter")
    page.get_by_role("status").wait_for()


@pytest.mark.parametrize(
    "path", ["/", "/photos", "/photos/1", "/photos/2", "/review", "/people", "/audit", "/login"]
)
def test_pages_fit_a_phone_and_have_no_serious_fault(
    shown: Home, opened: Callable[..., Any], path: str
) -> None:
    for scheme in ("light", "dark"):
        page = opened(shown, path, viewport={"width": 320, "height": 640}, color_scheme=scheme)
        page.wait_for_load_state("load")
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0
        page.evaluate(axe())
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [one for one in found["violations"] if one["impact"] in {"serious", "critical"}]
        assert not serious, json.dumps(serious, indent=1)[:4000]


def test_a_browser_without_a_session_is_asked_to_sign_in(shown: Home, browser: Any) -> None:
    context = browser.new_context()
    context.set_default_timeout(1000 * WITHIN_S)
    page = context.new_page()
    page.goto(f"http://{signed_in(shown.settings).own_host}/photos/1")
    page.get_by_role("heading", name="Sign in").wait_for()
    assert page.locator("img").count() == 1  # the logo
    page.goto(f"http://{signed_in(shown.settings).own_host}{link_of(shown)}")
    page.get_by_role("button", name="Open fawkesd").click()
    page.get_by_role("link", name="Overview").wait_for()
    context.close()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A page, without a service, of one published and one held photo."""
    from faulty import Counter

    from daemon.config.settings import Settings, UserSettings, WatchSettings
    from daemon.service.run import once

    folder = tmp_path_factory.mktemp("shown")
    outbox, sync = folder / "outbox", folder / "sync"
    outbox.mkdir()
    sync.mkdir()
    user = UserSettings(name="ada", outboxes=(outbox,), sync=sync)
    settings = Settings(state_dir=folder / "state", users=(user,), watch=WatchSettings(settle_s=0.1))
    home = with_page(Home(outbox, sync, settings))
    (outbox / "a.jpg").write_bytes(portrait())
    once(home.settings, Counter(), FACTORY)
    (outbox / "b.jpg").write_bytes(make_photo(Deed.REFUSE))
    once(home.settings, Counter(), FACTORY)
    with page_of(home):
        yield home


@cache
def axe() -> str:
    """The script of axe-core, as npm has it; skips the test where npm cannot get it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm, which fetches axe-core, is not installed")
    folder = Path.home() / ".cache" / "fawkesd-tests" / AXE
    script = folder / "package" / "axe.min.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "pack", "--silent", AXE],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )
        if done.returncode != 0:
            pytest.skip(f"npm cannot fetch {AXE}")
        subprocess.run(["tar", "xzf", done.stdout.split()[-1]], cwd=folder, check=True)
    return script.read_text()
