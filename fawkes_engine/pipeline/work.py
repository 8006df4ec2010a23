"""One photo in progress: its pixels, its faces, whom each shows and toward whom each is moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from fawkes_engine.face.canvas import Canvas
from fawkes_engine.face.detect import Face
from fawkes_engine.photo.decode import Photo
from fawkes_engine.photo.monochrome import Tone
from fawkes_engine.types import Request


@dataclass(frozen=True, slots=True)
class Goal:
    """The identity one face is moved toward; weights and stopping criterion are common to all faces, see `Aim`.

    identity: its id. vectors: extractor -> unit embedding (D,), where there is one.
    """

    identity: str
    vectors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Work:
    """A decoded photo with its detected faces.

    clean_embeddings: extractor -> (faces, D) unit embeddings of the clean faces. people, goals: one per face. left:
    other faces, which stay uncloaked.
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
        """The canvas of each face, with its tone if the photo is monochrome there."""
        photo = self.photo
        canvases = (Canvas.around(face, photo.pixels, photo.colour) for face in self.faces)
        return [replace(canvas, tone=Tone.of(photo.pixels, canvas.region)) for canvas in canvases]
