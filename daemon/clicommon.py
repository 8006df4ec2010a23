"""What the groups of commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon.settings import Settings, default_config_path, load

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file [default: ~/.config/fawkesd/fawkesd.yaml]."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def examples(*lines: str) -> str:
    """Return the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def load_settings(config: Path | None) -> Settings:
    """Return the settings of `--config`, or of the default place. Raises ConfigError."""
    return load(config or default_config_path())
