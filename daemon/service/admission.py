"""Admission: reads photos, and finishes those that need no engine by the policy in `outcomes`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from daemon.config.folder import choice_for
from daemon.errors import ConfigError, SourceChanged, SourceFault, SourceGone
from daemon.fs.filenames import objection
from daemon.fs.files import read_source
from daemon.model import NoFacePolicy, Photo, Settled, Snapshot, Source
from daemon.service.outcomes import Outcomes
from daemon.service.review import NO_ROOM
from daemon.state.ledger import Ledger
from daemon.state.result_cache import ResultCache
from daemon.text import printable
from daemon.workers.protocol import PHOTO_MAX_BYTES, TOO_LARGE
from fawkes_engine import FULL_STRENGTH, Request


@dataclass(frozen=True, slots=True)
class Begin:
    """A photo for the engine, and its request. photo: with its input_sha256 and options."""

    photo: Photo
    request: Request


class Admission:
    """Reads WORKING photos and passes on those that need the engine. `now` is monotonic seconds."""

    def __init__(
        self,
        ledger: Ledger,
        results: ResultCache,
        outcomes: Outcomes,
        request: Callable[[str, bytes], Request],
    ) -> None:
        """request: makes the engine's request from a user's name and a photo's bytes."""
        self._ledger = ledger
        self._results = results
        self._outcomes = outcomes
        self._request = request

    def begin(self, photo: Photo, fingerprint: str, now: float) -> Begin | None:
        """Return the engine's work for a photo; None if there is none, and then its row has moved.

        fingerprint: of the engine that would do the work.
        """
        data = self._read(photo, now)
        if data is None:
            return None
        read = replace(photo, input_sha256=hashlib.sha256(data).hexdigest())
        request = self._request(photo.source.outbox.user, data)
        if photo.no_face is NoFacePolicy.PUBLISH:
            request = replace(request, publish_faceless=True)
        by_command = self._ledger.choice(read)
        try:
            choice = by_command or choice_for(photo.source)
        except ConfigError as exc:
            self._outcomes.hold(photo, f"{exc}; correct that file, then run `fawkesd retry`")
            return None
        except SourceFault as exc:
            self._outcomes.later(photo, str(exc))
            return None
        if choice is not None:
            request = replace(request, mode=choice.mode, strength=choice.strength)
        read = replace(read, options=_options(request, by_folder=choice is not None and by_command is None))
        return None if self._is_done(read, fingerprint, now) else Begin(read, request)

    def _read(self, photo: Photo, now: float) -> bytes | None:
        reason = why_held_unread(photo.source, photo.snapshot)
        if reason is not None:
            self._outcomes.hold(photo, reason)
            return None
        try:
            return read_source(Settled(photo.source, photo.snapshot))
        except SourceGone:
            self._outcomes.source_gone(photo)
        except SourceChanged:
            self._outcomes.source_changed(photo, now)
        except SourceFault as exc:
            self._outcomes.later(photo, str(exc))
        return None

    def _is_done(self, photo: Photo, fingerprint: str, now: float) -> bool:
        """Whether the photo is already cloaked, or its result exists from before."""
        assert photo.input_sha256 is not None, "the photo has been read"
        origin = self._ledger.origin(photo.input_sha256)
        if origin is not None:
            reason = f"already cloaked: this is the published copy of {printable(origin.path)}"
            self._outcomes.hold(photo, reason)
            return True
        away = self._outcomes.review.away(photo)
        if away is not None:
            self._outcomes.end(photo, away.state, away.reason)
            return True
        earlier = [*self._ledger.published_before(photo), *self._ledger.made_before(photo, fingerprint)]
        if any(self._outcomes.reused(photo, one, now) for one in earlier):
            return True
        cached = self._results.find(photo, fingerprint)
        if cached is not None:
            self._outcomes.answered(photo, cached, now)
        elif not self._outcomes.review.has_room(photo):  # before the engine works in vain
            self._outcomes.later(photo, NO_ROOM, may_hold=False)
            return True
        return cached is not None


def why_held_unread(source: Source, snapshot: Snapshot) -> str | None:
    """Return why a photo is held for its name or its size alone, in words; None if it is not."""
    if snapshot.size > PHOTO_MAX_BYTES:
        return f"the file is {TOO_LARGE}"
    return objection(source.relative)


def _options(request: Request, *, by_folder: bool) -> str:
    """Everything in a request that determines the result, besides the photo and the user; as JSON.

    by_folder: mode and strength are those of the photo's folder, and not remembered for the photo.
    """
    options = asdict(replace(request, data=b""))
    del options["data"], options["user"]
    if request.mode is None and request.strength == FULL_STRENGTH:
        del options["mode"], options["strength"]  # as in rows that are older than these options
    if by_folder:
        options["by_folder"] = True
    return json.dumps(options, default=lambda option: option.value)
