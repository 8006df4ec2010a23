"""Writes a report to files: one name, one file per format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from daemon.fs import atomic


def write_report(folder: Path, name: str, texts: Mapping[str, str]) -> None:
    """Write texts as FOLDER/NAME with each one's suffix, replacing older ones. Raises OutputError."""
    atomic.make_folder(folder)
    for suffix, text in texts.items():
        atomic.write(folder / f"{name}{suffix}", text.encode(), replace=True)
