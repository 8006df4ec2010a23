"""One photo on its way through the engine: its pixels, its faces, whose each is and where each is moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from fawkes_engine.face.canvas import Canvas
from fawkes_engine.face.detect import Face
from fawkes_engine.photo.decode import Photo
from fawkes_engine.types import Request


@dataclass(frozen=True, slots=True)
class Goal:
    """Whom one face is moved toward; how strongly, and when it is there, is the same for all: see `Aim`.

    identity: by name. vectors: extractor -> unit embedding (D,), where there is one.
    """

    identity: str
    vectors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Work:
    """A decoded photo with its detected faces.

    clean_embeddings: extractor -> (faces, D) unit embeddings of the clean faces. people: whose each face is. goals:
    where each is moved. left: other faces, to be left as they are.
    """

    request: Request
    photo: Photo
    faces: Sequence[Face]
    clean_embeddings: Mapping[str, Tensor]
    people: Sequence[str] = ()
    goals: Sequence[Goal] = ()
    left: Sequence[Face] = ()

    def only(self, indices: Sequence[int]) -> Work:
        """Return the same photo with only these faces to be cloaked."""
        return replace(
            self,
            faces=[self.faces[i] for i in indices],
            people=[self.people[i] for i in indices],
            goals=[self.goals[i] for i in indices],
            clean_embeddings={name: embedding[indices] for name, embedding in self.clean_embeddings.items()},
            left=[face for i, face in enumerate(self.faces) if i not in indices],
        )

    @cached_property
    def canvases(self) -> list[Canvas]:
        """The working square of each face."""
        return [Canvas.around(face, self.photo.pixels, self.photo.colour) for face in self.faces]
