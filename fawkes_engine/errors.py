"""The error tree of the package. Every message is written for the photo's owner.

EngineError
|-- WeightsError          a model's weights are missing or not the pinned ones
|-- FetchError            a model's weights could not be fetched this time
|-- EvaluationError       an evaluation cannot be run as requested
`-- Refusal               this photo is not published, and the message says why
    |-- Unreadable        the bytes are not a complete picture
    |-- Unsupported       a picture of a kind the engine does not write yet
    |-- NoFace            nothing to cloak was found
    |-- NoDecoy           the photo is not usable as a decoy
    `-- NotProtected      the cloak did not pass verification on the encoded file
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of every error the engine raises on purpose; the message is written for the photo's owner."""


class WeightsError(EngineError):
    """A model's weights are missing or their sha256 is not the pinned one."""


class FetchError(EngineError):
    """A model's weights could not be downloaded or stored: no network, no pip or no disk space; retrying may help."""


class EvaluationError(EngineError):
    """The requested evaluation cannot be run: too few photos, an unknown tracker, a missing file."""


class Refusal(EngineError):
    """This one photo must not be published; other photos are not affected."""


class Unreadable(Refusal):
    """The bytes are damaged, truncated, or not a picture at all."""


class Unsupported(Refusal):
    """A picture of a kind the engine does not write; the message says what to export instead."""


class NoFace(Refusal):
    """No face was found, so nothing was cloaked."""


class NoDecoy(Refusal):
    """The photo cannot be a decoy: it does not show exactly one face, shows the user, or came no nearer to the user."""


class NotProtected(Refusal):
    """The encoded file was decoded and measured again, and a face in it is not protected enough.

    faces: indices of the cloaked faces that still look like their owners; empty if something else is wrong.
    """

    def __init__(self, message: str, faces: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.faces = faces
