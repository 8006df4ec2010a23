"""Quiet hours: what the clock on the wall shows is what counts, on every day of the year."""

from __future__ import annotations

import datetime
import os
import signal
import time
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

import pytest
from conftest import WITHIN_S, DaemonProcess, Home
from faulty import FACTORY, Counter, states
from hypothesis import given
from hypothesis import strategies as st
from twins import make_photo

from daemon.cli.main import run_command
from daemon.config.quiet_hours import QuietHours, time_of_day
from daemon.config.settings import Settings
from daemon.service.run import once
from daemon.status import status, status_text
from daemon.timing import Timing

Start = Callable[..., DaemonProcess]
Wait = Callable[..., None]
DAY_MIN = 24 * 60
minutes = st.integers(0, DAY_MIN - 1)


def clock(minute: int) -> datetime.time:
    return datetime.time(*divmod(minute % DAY_MIN, 60))


def text(start: int, end: int) -> str:
    return f"{clock(start):%H:%M}-{clock(end):%H:%M}"


def with_quiet(home: Home, hours: str | None) -> Settings:
    engine = home.settings.engine.model_copy(update={"quiet_hours": hours})
    return home.settings.model_copy(update={"engine": engine})


def around_now() -> str:
    """Hours that began twenty minutes ago and end in twenty: maybe across midnight."""
    now = time_of_day()
    minute = now.hour * 60 + now.minute
    return text(minute - 20, minute + 20)


@given(start=minutes, end=minutes, moment=minutes, second=st.integers(0, 59))
def test_a_moment_is_quiet_if_the_start_is_nearer_behind_it_than_the_end(
    start: int, end: int, moment: int, second: int
) -> None:
    if start == end:
        return
    hours = QuietHours.parse(text(start, end))

    is_inside = (moment - start) % DAY_MIN < (end - start) % DAY_MIN
    assert hours.cover(clock(moment).replace(second=second)) == is_inside


@given(start=minutes, length=st.integers(1, DAY_MIN - 1))
def test_one_span_a_day_and_no_more(start: int, length: int) -> None:
    hours = QuietHours.parse(text(start, start + length))

    quiet = [hours.cover(clock(start + minute)) for minute in range(DAY_MIN)]
    assert quiet == [True] * length + [False] * (DAY_MIN - length)
    assert hours.ends == f"{clock(start + length):%H:%M}"


@pytest.mark.parametrize(
    "wrong", ["", "23:00", "23-7", "24:00-07:00", "23:60-07:00", "7:00-9:00", "07:00-07:00", "٠٧:00-08:00"]
)
def test_what_is_no_span_of_hours_is_told_with_what_to_write(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"; write "):
        QuietHours.parse(wrong)


@pytest.fixture
def berlin() -> Iterator[ZoneInfo]:
    """The local time of this process: clocks go forward at 02:00 on 2027-03-28, back at 03:00 on 2027-10-31."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield ZoneInfo("Europe/Berlin")
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.parametrize(
    ("night", "hours", "quiet_min"),
    [
        (datetime.date(2027, 1, 10), "23:00-07:00", 480),
        (datetime.date(2027, 3, 27), "23:00-07:00", 420),  # the hour from 02:00 is missing
        (datetime.date(2027, 10, 30), "23:00-07:00", 540),  # the hour from 02:00 comes twice
        (datetime.date(2027, 3, 27), "23:00-02:30", 180),  # ends at 03:00, since there is no 02:30
        (datetime.date(2027, 3, 27), "02:10-02:50", 0),
        (datetime.date(2027, 10, 30), "02:10-02:50", 80),
    ],
)
def test_the_nights_on_which_clocks_are_changed(
    night: datetime.date,
    hours: str,
    quiet_min: int,
    berlin: ZoneInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every real minute from noon to noon, as the process would see it."""
    noon = datetime.datetime.combine(night, datetime.time(12), berlin)
    end = datetime.datetime.combine(night + datetime.timedelta(days=1), datetime.time(12), berlin)
    found = 0
    span = QuietHours.parse(hours)
    for moment in range(int(noon.timestamp()), int(end.timestamp()), 60):
        local = datetime.datetime.fromtimestamp(moment).time()
        assert local == datetime.datetime.fromtimestamp(moment, berlin).time()
        found += span.cover(local)
    assert found == quiet_min


def test_once_begins_nothing_in_quiet_hours_and_goes_on_after_them(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.outbox / "a.jpg").write_bytes(make_photo())
    settings = with_quiet(home, "23:00-07:00")

    monkeypatch.setattr("daemon.config.settings.time_of_day", lambda: datetime.time(6, 59, 59))
    assert once(settings, Counter(), "twins:make_broken_engine").published == 0
    assert home.published() == []

    monkeypatch.setattr("daemon.config.settings.time_of_day", lambda: datetime.time(7))
    assert once(settings, Counter(), FACTORY).published == 1
    assert home.published() == ["a.jpg"]


def test_the_command_once_says_why_nothing_was_begun(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    hours = around_now()
    config = home.state_dir.with_name("fawkesd.yaml")
    config.write_text(with_quiet(home, hours).model_dump_json())

    assert run_command(["once", "--config", str(config)]) == 0
    assert f"quiet hours until {hours[-5:]}: photos wait" in capsys.readouterr().out


def test_photos_wait_until_the_quiet_hours_are_over(home: Home, start: Start, eventually: Wait) -> None:
    settings = with_quiet(home, around_now())
    daemon = start(settings)
    (home.outbox / "a.jpg").write_bytes(make_photo())
    eventually(lambda: "engine ready" in daemon.log and states(home) == ["ready"])

    told = status.read(settings)
    assert told.quiet_until == settings.engine.quiet_hours[-5:] if settings.engine.quiet_hours else ""
    assert next(iter(status_text.status_lines(told))).endswith(f"quiet hours until {told.quiet_until}")
    time.sleep(1.0)  # an engine that is ready would have been given the photo at once
    assert states(home) == ["ready"]

    home.write_config()  # without quiet hours
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: home.published() == ["a.jpg"])
    assert status.read(home.settings).quiet_until is None


def test_the_end_of_quiet_hours_is_noticed_without_an_event(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the clock was moved: by hand, by summer time, or while the machine slept."""
    from daemon.service.parts import assembled
    from daemon.service.supervisor import Supervisor
    from daemon.service.wakeup import wakeup

    (home.outbox / "a.jpg").write_bytes(make_photo())
    timing = Timing(quiet_look_s=0.1, check_outboxes_s=600.0)
    settings = with_quiet(home, "23:00-07:00")
    shown = iter([datetime.time(23, 30)] * 5)
    monkeypatch.setattr("daemon.config.settings.time_of_day", lambda: next(shown, datetime.time(12)))
    deadline_s = time.monotonic() + WITHIN_S  # the next look at the folders would come after 600 s
    with (
        wakeup() as signals,
        assembled(settings, FACTORY, timing, give_up_s=10.0) as parts,
    ):
        supervisor = Supervisor(settings, parts, signals, timing)
        while due_s := supervisor.step():
            if home.published():
                return
            assert time.monotonic() < deadline_s
            supervisor.sleep_until(due_s)
