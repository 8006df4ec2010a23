"""The whole daemon with the tiny engine: real folders, real observer, real processes."""

from __future__ import annotations

from dataclasses import dataclass, field

from conftest import Home
from twins import Deed, is_cloaked, make_photo

from daemon.service import once

FACTORY = "twins:make_engine"


@dataclass(slots=True)
class Counter:
    """A Progress that counts."""

    totals: list[int] = field(default_factory=list)
    advanced: int = 0

    def total(self, n: int) -> None:
        self.totals.append(n)

    def advance(self, n: int = 1) -> None:
        self.advanced += n


def test_once_publishes_what_waits_and_holds_what_the_engine_refuses(home: Home) -> None:
    (home.outbox / "trip").mkdir()
    (home.outbox / "trip" / "a.jpg").write_bytes(make_photo())
    (home.outbox / "b.JPEG").write_bytes(make_photo(seed=1))
    (home.outbox / "empty.jpg").write_bytes(make_photo(Deed.REFUSE))
    progress = Counter()

    result = once(home.settings, progress, FACTORY)

    assert home.published() == ["b.JPEG", "trip/a.jpg"]
    assert all(is_cloaked((home.sync / name).read_bytes()) for name in home.published())
    assert result.published == 2
    assert [(photo.user, photo.path, photo.reason) for photo in result.held] == [
        ("ada", home.outbox / "empty.jpg", "no face was found")
    ]
    assert (progress.totals, progress.advanced) == ([3], 3)
