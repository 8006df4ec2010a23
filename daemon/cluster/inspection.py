"""A node is not believed: what it returns is decoded, searched and measured again before it may be published.

Which faces there are, whose they are and what they look like is found out here, from the original, by both detectors
and by the recogniser that verifies (dlib) in float32. Of the node's report only that is taken for true which cannot be
measured here: the figures of other recognisers, and how visible the cloak is on the warped face.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from daemon.cluster.containers import is_as_written
from daemon.cluster.likeness import check_faces, check_surroundings
from daemon.cluster.reports import check_report, faces_told
from fawkes_engine import (
    MODES,
    STRANGER,
    EngineSettings,
    HeicAs,
    NoFace,
    NotProtected,
    Protected,
    Refusal,
    Report,
    Request,
    TargetStore,
)
from fawkes_engine.engine import mode_of
from fawkes_engine.extractors import KNOWN_BY
from fawkes_engine.face.detect import Face
from fawkes_engine.identity.targets import Pool
from fawkes_engine.photo.colour import Pixels
from fawkes_engine.photo.decode import Photo, decode, pixel_count
from fawkes_engine.pipeline.photos import Pipeline
from fawkes_engine.pipeline.verify import not_known, unlike_owners, where
from fawkes_engine.pipeline.work import Goal, Work

log = logging.getLogger(__name__)

# For what else is found, and for a face's likeness to others in the photo, the engine has no limit: one of its cloaks
# came to 0.448 where it was found again as another face. A clean face is near 1 there.
_ASTRAY_LIMIT = 0.6
_NOBODY = ""  # a face that the coordinator does not know
_NO_GOAL = Goal("", {})


class Inspector:
    """Inspects what nodes return. Loads the decoders, both detectors and dlib, for the CPU.

    Raises on construction:
        WeightsError: dlib's weights are missing or wrong.
    """

    def __init__(self, settings: EngineSettings, targets: TargetStore) -> None:
        """settings: of the engines on the nodes. targets: everyone's, where proposals are committed."""
        alone = replace(settings, extractors=(KNOWN_BY,), device="cpu")
        self._pipeline = Pipeline.load(alone, targets, Pool.load())
        self._targets = targets

    def meet(self, requests: Sequence[Request]) -> None:
        """Give each of these photos' users without a target one, as an engine does; to be done before a snapshot.

        So it is never a node that says whom a user's name stands for. A photo that cannot be read is passed over.
        """
        strange = [request for request in requests if self._targets.get(request.user) is None]
        if not strange:
            return
        works = []
        for request in strange:
            try:
                works.append(self._pipeline.open(request))
            except Refusal:
                continue  # the node says the same
        identifier = self._pipeline.identifier
        with identifier.people.up_to_date():
            identifier.meet_users(works)

    def objection(self, request: Request, returned: Protected) -> str | None:
        """Return why a file must not be published for this request, in words for the photo's owner; None if it may be.

        To be asked after the node's proposals are committed. Whatever cannot be checked is objected to.
        """
        try:
            self._inspect(request, returned)
        except Refusal as refusal:
            return str(refusal)
        except MemoryError:
            return "it needs more memory to be checked than there is"
        # Files from elsewhere make decoders and measures fail in many ways, and none of them is a reason to publish.
        except Exception as error:
            log.exception("a node's result could not be checked")
            return f"it could not be checked ({type(error).__name__}: {error})"
        return None

    def _inspect(self, request: Request, returned: Protected) -> None:
        """Raise a Refusal for whatever is not as it must be."""
        if hashlib.sha256(returned.data).hexdigest() != returned.sha256:
            raise NotProtected("it is not the file that its checksum tells of")
        verifier, settings = self._pipeline.verifier, self._pipeline.settings
        every = self._named(self._pipeline.open(request))
        work = _to_cloak(every)
        pixels = self._decoded(every.photo, request, returned)
        found = verifier.found(work, pixels)
        if missed := self._missed(every, work, found, returned.report):
            # an engine cloaks what it finds in its own file only, too: it must look in the original as it does now
            every = self._named(self._pipeline.embed(request, every.photo, [*every.faces, *missed]))
            work = _to_cloak(every)
            found = verifier.found(work, pixels)
        check_surroundings(work, pixels)
        embedded = verifier.embedded(work, pixels, found) if work.faces else []
        unlike_owners(work, embedded)
        self._check_nobody_is_shown(every, work, pixels, found)
        budget = MODES[request.mode].budget if request.mode else settings.budget
        check_faces(work, pixels, budget)
        mode = request.mode or mode_of(settings)
        check_report(returned.report, work, embedded, self._targets, mode, budget)

    @staticmethod
    def _missed(every: Work, work: Work, found: Sequence[Face], report: Report) -> list[Face]:
        """Return the faces that are only in the file that came back, and those that are only in the node's report.

        Both are measured as all others. The latter were in the file that the engine wrote first; where anything is
        found here, the node's word for it does not count.
        """
        known = replace(every, faces=[*every.faces, *found])
        return [*not_known(work, found), *not_known(known, faces_told(report, every.photo.pixels))]

    def _named(self, work: Work) -> Work:
        """Return the work with who each face shows. Raises NotProtected if the user has not been met."""
        identifier, user = self._pipeline.identifier, work.request.user
        with identifier.people.up_to_date():
            known = identifier.people.reloaded(user)
        if known is None and work.faces:
            raise NotProtected(f"{user} is not known yet, so nobody can tell which faces are to be cloaked")
        names = [identifier.known(work, i) or _NOBODY for i in range(len(work.faces))]
        return replace(work, people=names, goals=[_NO_GOAL] * len(names))

    def _check_nobody_is_shown(self, every: Work, work: Work, pixels: Pixels, found: Sequence[Face]) -> None:
        """Refuse a picture in which anything that was found looks like somebody in the photo, or like another user.

        Also where the faces were, and also small faces on large ones: a node may lead the search astray.
        """
        shown = [*work.faces, *not_known(replace(work, faces=[]), found)]
        if not shown:
            return
        people, clean = self._pipeline.identifier.people, every.clean_embeddings[KNOWN_BY]
        for embedded in self._pipeline.verifier.embedded(replace(work, faces=shown), pixels, []):
            for face, embedding in zip(shown, embedded[KNOWN_BY], strict=True):
                user = people.know({KNOWN_BY: embedding.numpy()}) or STRANGER
                owners = {
                    name for own, name in zip(work.faces, work.people, strict=True) if own.overlaps(face)
                }
                is_other_user = not user.startswith(STRANGER) and user not in owners
                if is_other_user or not float((clean @ embedding).max()) <= _ASTRAY_LIMIT:
                    raise NotProtected(f"at the face {where(face)} it shows somebody whom a recogniser knows")

    def _decoded(self, photo: Photo, request: Request, returned: Protected) -> Pixels:
        """Decode the file, once its header tells no other size, and compare its frame with what the engine writes."""
        height, width = photo.pixels.shape[:2]
        if pixel_count(returned.data) != height * width:
            raise NotProtected("it is of another size than the photo")
        published = decode(returned.data, request.metadata, HeicAs.HEIC)
        if (published.format, returned.suffix) != (photo.format, photo.suffix):
            raise NotProtected("it is of another format than the photo's copy must be")
        if published.pixels.shape != photo.pixels.shape:
            raise NotProtected("it is of another size than the photo")
        if not _same_alpha(photo, published):
            raise NotProtected("its transparency is not the photo's")
        quality = self._pipeline.settings.jpeg_quality
        if not is_as_written(returned.data, photo, published.pixels, quality):
            raise NotProtected(
                "it holds something besides the picture and the metadata that may be published"
            )
        return published.pixels


def _to_cloak(work: Work) -> Work:
    """With only_mine, keep only the user's faces. Raises NoFace where an engine publishes nothing."""
    request = work.request
    if not request.only_mine:
        return work
    mine = [i for i, name in enumerate(work.people) if name == request.user]
    if not mine and not request.publish_faceless:
        raise NoFace(f"none of the faces was recognised as {request.user}'s, so there was nothing to cloak")
    return work.only(mine)


def _same_alpha(photo: Photo, published: Photo) -> bool:
    if photo.alpha is None or published.alpha is None:
        return photo.alpha is published.alpha
    return np.array_equal(photo.alpha, published.alpha)
