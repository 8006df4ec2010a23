"""What an audit measures: whose photos, and from where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon.batch.own_photos import Shared, photos_in, shared_by
from daemon.config.settings import EngineConfig, Settings
from daemon.errors import InputError

AT_MOST = 40  # photos of each kind; their files are held in memory


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure. shared: published photos. clean: folder of further photos of the user, None = the originals.

    trackers: besides the engine's recognisers on disk. gallery: folder of other people. html: where the report goes.
    """

    user: str
    shared: tuple[Shared, ...]
    clean: Path | None
    trackers: tuple[str, ...]
    gallery: Path | None
    html: Path | None
    engine: EngineConfig

    @property
    def photos(self) -> tuple[list[Path], list[Path]]:
        """What was published, and the clean photos. Raises InputError if there are too few of either."""
        originals = [photo.original for photo in self.shared if photo.original]
        clean = photos_in(self.clean)[:AT_MOST] if self.clean else originals
        if not self.shared or len(clean) < 2:
            raise InputError(
                f"{len(self.shared)} published and {len(clean)} clean photos of {self.user} are at hand, and 1 and 2 "
                "are needed at least: name folders with --published and --clean"
            )
        return [photo.path for photo in self.shared], clean


def shared_photos(settings: Settings | None, user: str, published: Path | None) -> tuple[Shared, ...]:
    """Return the published photos in a folder, or the newest in the user's sync folder.

    Raises InputError for a folder without photos, or where neither is known.
    """
    if published:
        return tuple(Shared(path, None) for path in photos_in(published)[:AT_MOST])
    theirs = settings.user(user) if settings else None
    if settings is None or theirs is None:
        raise InputError(f"no configuration tells where {user}'s photos are published; name --published")
    return tuple(shared_by(settings, theirs, AT_MOST))
