"""Types of the fields of commands, checked when a command is decoded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict

STRICT = ConfigDict(extra="forbid")


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or b"\0" in os.fsencode(path):  # fsencode also rejects impossible names
        raise ValueError("this is not an absolute path")
    return path


def _inside(path: Path) -> Path:
    if path.is_absolute() or ".." in path.parts or b"\0" in os.fsencode(path):
        raise ValueError("this is not a path below an outbox")
    return path


Root = Annotated[Path, AfterValidator(_absolute)]
Relative = Annotated[Path, AfterValidator(_inside)]
