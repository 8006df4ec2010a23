"""The status as metrics of Prometheus, for the textfile collector of its node exporter.

Labels are names of users and states alone: no path and no name of a photo leaves the machine with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.status.status import Status, UserStatus


@dataclass(frozen=True, slots=True)
class _Gauge:
    """A metric. samples: labels -> value; user names need no escapes."""

    name: str
    explanation: str
    samples: Mapping[tuple[tuple[str, str], ...], float]


def lines(status: Status) -> Iterator[str]:
    """Yield the lines of the text exposition format."""
    for gauge in _gauges(status):
        yield f"# HELP {gauge.name} {gauge.explanation}"
        yield f"# TYPE {gauge.name} gauge"
        for labels, value in gauge.samples.items():
            text = ",".join(f'{name}="{label}"' for name, label in labels)
            yield f"{gauge.name}{{{text}}} {value:.15g}" if text else f"{gauge.name} {value:.15g}"


def _gauges(status: Status) -> Iterator[_Gauge]:
    users = status.users
    yield _Gauge("fawkesd_up", "Whether the service is running (1) or not (0).", {(): status.running})
    yield _Gauge(
        "fawkesd_missing_folders",
        "Outboxes, sync folders and targets that the service waits for.",
        {(): len(status.waits_for)},
    )
    yield _Gauge(
        "fawkesd_photos",
        "Photos by state; held and review wait for a person.",
        {
            (("user", user.name), ("state", state)): count
            for user in users
            for state, count in _counts(user).items()
        },
    )
    yield _Gauge(
        "fawkesd_paused_folders",
        "Folders whose photos are paused.",
        {(("user", user.name),): len(user.paused) for user in users},
    )
    yield _Gauge(
        "fawkesd_photo_duration_seconds",
        "Median time of the engine for a photo, of the last 50.",
        {
            (("user", user.name),): user.seconds_per_photo
            for user in users
            if user.seconds_per_photo is not None
        },
    )
    yield _Gauge(
        "fawkesd_backlog_seconds",
        "How long the photos that wait will take the engine, without paused folders.",
        {(("user", user.name),): user.eta_s for user in users if user.eta_s is not None},
    )


def _counts(user: UserStatus) -> dict[str, int]:
    return {
        "published": user.published,
        "waiting": user.waiting,
        "unfinished": len(user.unfinished),
        "held": len(user.held),
        "review": user.review,
        "rejected": user.rejected,
    }
