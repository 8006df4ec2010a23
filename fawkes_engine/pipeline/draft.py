"""A photo between the optimiser and the file: the cloaks computed so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from fawkes_engine.cloak.optimise import Cloak
from fawkes_engine.image.warp import farthest
from fawkes_engine.modes import FULL_STRENGTH
from fawkes_engine.pipeline.preview import Preview
from fawkes_engine.pipeline.work import Work


@dataclass(frozen=True, slots=True)
class Draft:
    """A photo that can be written once every face has a cloak; immutable, each step returns a new draft.

    preview: of this photo. cloaks: index of a face -> its cloak, inside the budget by itself.
    """

    work: Work
    preview: Preview
    cloaks: Mapping[int, Cloak] = field(default_factory=dict)

    @property
    def uncloaked(self) -> list[int]:
        """Indices of the faces that have no cloak yet."""
        return [i for i in range(len(self.work.faces)) if i not in self.cloaks]

    def moved(self, face: int) -> float:
        """How far a face's cloak moves any point, at most, as a share of the face's height."""
        work = self.work
        return farthest(self.cloaks[face].points) / work.canvases[face].scale / work.faces[face].height_px

    @property
    def as_requested(self) -> Draft:
        """The draft at the strength that its request asks for: both parts of every cloak scaled."""
        share = self.work.request.strength / FULL_STRENGTH
        scaled = {
            i: replace(cloak, points=share * cloak.points, delta=share * cloak.delta)
            for i, cloak in self.cloaks.items()
        }
        return replace(self, cloaks=scaled)

    def at(self, strength: int) -> Draft:
        """Return the draft as if this strength had been requested."""
        request = replace(self.work.request, strength=strength)
        return replace(self, work=replace(self.work, request=request))

    def adding(self, cloaks: Mapping[int, Cloak]) -> Draft:
        """Return the draft with more cloaks."""
        return replace(self, cloaks={**self.cloaks, **cloaks})

    def without(self, faces: Collection[int]) -> Draft:
        """Return the draft without the cloaks of these faces."""
        return replace(self, cloaks={i: cloak for i, cloak in self.cloaks.items() if i not in faces})
