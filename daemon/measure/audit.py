"""`fawkesd audit`: how often trackers would still name a user, on the user's own photos; nothing leaves the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.batch.output_folder import read
from daemon.batch.own_photos import Shared, photos_in, shared_by
from daemon.config.settings import EngineConfig, Settings
from daemon.errors import InputError, OutputExists
from daemon.text import printable
from daemon.workers.environment import load_torch

if TYPE_CHECKING:
    from fawkes_engine.evaluation.audit import Audit, OwnPhoto


AT_MOST = 40  # photos of each kind; their files are kept in memory


@dataclass(frozen=True, slots=True)
class AuditJob:
    """What to measure. shared: published photos. clean: folder of further photos of the user, None = the originals.

    trackers: besides the engine's recognisers on disk. gallery: folder of other people. html: path of the report.
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
        """The published and the clean photos. Raises InputError if there are too few of either."""
        originals = [photo.original for photo in self.shared if photo.original]
        clean = photos_in(self.clean)[:AT_MOST] if self.clean else originals
        if not self.shared or len(clean) < 2:
            raise InputError(
                f"audit needs at least 1 published and 2 clean photos of {self.user}; found {len(self.shared)} and "
                f"{len(clean)}. Name folders with --published and --clean"
            )
        return [photo.path for photo in self.shared], clean


def shared_photos(settings: Settings | None, user: str, published: Path | None) -> tuple[Shared, ...]:
    """Return the published photos in a folder, or the newest in the user's sync folder.

    Raises InputError for a folder without photos, or if no folder is known.
    """
    if published:
        return tuple(Shared(path, None) for path in photos_in(published)[:AT_MOST])
    configured = settings.user(user) if settings else None
    if settings is None:
        raise InputError(
            f"there is no configuration that says where {user}'s photos are published; name the folder with --published"
        )
    if configured is None:
        users = ", ".join(one.name for one in settings.users)
        raise InputError(
            f"there is no user {user!r} in the configuration (users: {users}); correct --user, or name the folder of "
            "the published photos with --published"
        )
    return tuple(shared_by(settings, configured, AT_MOST))


def run(job: AuditJob, on_step: Callable[[str], None]) -> Audit:
    """Measure; on_step is called with a line at the start of each step, and for recognisers that are left out.

    Raises InputError, OutputExists and EvaluationError if it is impossible.
    """
    published, clean = job.photos
    if job.html and job.html.exists():
        raise OutputExists(f"{printable(job.html)} exists already; move it away or choose another name")
    load_torch()
    import torch

    from fawkes_engine.evaluation import audit
    from fawkes_engine.evaluation.trackers import tracker
    from fawkes_engine.identity.targets import Pool

    device, pool = torch.device("cpu"), Pool.load()
    recognisers = job.engine.ensemble
    if not job.gallery:
        unknown = [name for name in recognisers if name not in pool.vectors]
        recognisers = tuple(name for name in recognisers if name in pool.vectors)
        if unknown:
            on_step(
                f"left out: {', '.join(unknown)} (fawkesd has no other people's faces for it; use --gallery)"
            )
    names = dict.fromkeys((*recognisers, *job.trackers))
    judges = [tracker.load(n, device, pool=pool, models_dir=job.engine.models_dir) for n in names]
    made_from = {photo.path: photo.original for photo in job.shared}
    return audit.audit(
        [_photo(path, made_from[path]) for path in published],
        [_photo(path) for path in clean],
        judges,
        gallery=job.gallery,
        on_step=on_step,
    )


def _photo(path: Path, made_from: Path | None = None) -> OwnPhoto:
    from fawkes_engine.evaluation.audit import OwnPhoto

    return OwnPhoto(str(path), read(path), str(made_from) if made_from else None)
