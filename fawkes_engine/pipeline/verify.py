"""The last gate: the file that would be published is decoded, searched and measured as a tracker would see it.

Twice: as it is, and after what a photo platform does to it (shrunk, recompressed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from fawkes_engine.errors import NotProtected
from fawkes_engine.extractors import KNOWN_BY
from fawkes_engine.face.align import Similarity
from fawkes_engine.face.detect import Face, Pixels
from fawkes_engine.identity.people import SAME_PERSON_COSINE
from fawkes_engine.photo.encode import as_shared
from fawkes_engine.pipeline.work import Work, Written

# A face is protected when, newly found, its cosine to its own clean embedding is at most this on the extractor that
# people are known by; on the others it is reported, as no budget that is hard to see gets below theirs in every photo.
# Below it that extractor would not take the face for its owner's.
OWN_COSINE_LIMIT = SAME_PERSON_COSINE

Embed = Callable[[Pixels, Sequence[Face], Sequence[str]], Mapping[str, Tensor]]
Check = Callable[[Work, Sequence[Mapping[str, Tensor]]], None]


def measure(
    work: Work, written: Written, found: Sequence[Face], embed: Embed, check: Check
) -> Mapping[str, Tensor]:
    """Measure every cloaked face in the decoded file; found: what a detector finds in it.

    embed: pixels, faces, names of extractors -> extractor -> (faces, D).
    check: raises a Refusal if one of the embeddings, the second of which KNOWN_BY alone makes, may not be published.

    Returns the cloaked faces as published, by every extractor that embedded the clean ones. Raises:
        NotProtected: there is a face that was not cloaked, or a cloak is too visible.
    """
    missed = work.not_known(found)
    if missed:
        raise NotProtected(f"a face {_where(missed[0])} in the result is not cloaked")
    again = [next((f for f in found if f.overlaps(face)), face) for face in work.faces]
    as_published = embed(written.pixels, again, list(work.clean_embeddings))
    shared = as_shared(written.pixels)
    scale = Similarity(complex(shared.shape[1] / written.pixels.shape[1]), 0j)
    check(work, [as_published, embed(shared, [face.moved(scale) for face in again], [KNOWN_BY])])
    for face, figures in zip(work.faces, written.seen, strict=True):
        if not figures.share_of(work.budget) <= 1:
            raise NotProtected(f"the cloak of the face {_where(face)} would be too visible")
    return as_published


def unlike_owners(work: Work, embeddings: Sequence[Mapping[str, Tensor]]) -> None:
    """Raise NotProtected for faces that in one of the embeddings, extractor -> (faces, D), look like their owners."""
    # asked this way round, what is not a number is refused too
    known = [
        i
        for i in range(len(work.faces))
        if not all(
            float(e[KNOWN_BY][i] @ work.clean_embeddings[KNOWN_BY][i]) <= OWN_COSINE_LIMIT for e in embeddings
        )
    ]
    if known:
        where = _where(work.faces[known[0]])
        raise NotProtected(f"the face {where} still looks like its owner to a recogniser", tuple(known))


def _where(face: Face) -> str:
    x, y = face.landmarks.mean(axis=0)
    return f"at {x:.0f}, {y:.0f} px"
