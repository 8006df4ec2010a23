"""`.fawkesd.yaml` in a folder of an outbox: how strongly the photos of that folder are cloaked."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from daemon.config import messages, yaml_source
from daemon.errors import ConfigError, SourceFault
from daemon.fs.files import explain, opened
from daemon.model import Choice, Source
from fawkes_engine import FULL_STRENGTH, STRONGEST_MODE, ModeName

FOLDER_FILE = ".fawkesd.yaml"
_MAX_BYTES = 4096


class FolderSettings(BaseModel):
    """What the file may hold; with neither key, photos are cloaked as the configuration says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    mode: ModeName | None = None
    """quick, standard or strong."""

    strength: Annotated[int, Field(strict=True, ge=0, le=FULL_STRENGTH)] | None = None
    """A whole number from 0 to 100: percent of what the mode computes, by default of strong."""

    @property
    def choice(self) -> Choice | None:
        """The same as `--mode` and `--strength` of `fawkesd redo`."""
        if self.mode is None and self.strength is None:
            return None
        return Choice(self.mode or STRONGEST_MODE, FULL_STRENGTH if self.strength is None else self.strength)


def choice_for(source: Source) -> Choice | None:
    """How the folder of a photo wants it cloaked; None if it does not say.

    The nearest file counts: of the photo's folder, then of those above it, up to the outbox. Raises ConfigError that
    names the file and the line, and SourceFault if it cannot be read now.
    """
    for folder in source.relative.parents:
        path = source.outbox.root / folder / FOLDER_FILE
        text = _read(path)
        if text is not None:
            return _parse(text, path).choice
    return None


def _parse(text: str, path: Path) -> FolderSettings:
    document = yaml_source.parse(text, path)
    faults = document.faults
    try:
        settings = FolderSettings.model_validate({} if document.data is None else document.data)
    except ValidationError as exc:
        faults += messages.faults(exc, FolderSettings)
    if faults:
        raise yaml_source.error(document, faults, path)
    return settings


def _read(path: Path) -> str | None:
    """Return the text of a file; None if there is none. Whoever writes to the outbox may have put anything there."""
    try:
        with opened(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) as descriptor:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{path}: is not a file; remove it")
            data = os.read(descriptor, _MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise ConfigError(f"{path}: is a symbolic link; put a plain file there") from exc
        raise SourceFault(f"{path} cannot be read: {explain(exc)}") from exc
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {_MAX_BYTES} bytes; it takes two lines, mode and strength")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {exc.start}); save it as UTF-8") from exc
