"""Loads a configuration file into settings, or raises an error that lists every fault with its line."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from daemon.config import cross_checks, messages, yaml_source
from daemon.config.settings import Settings, default_config_path


def load(path: Path) -> Settings:
    """Return the settings in a file. Raises ConfigError that lists every fault with its line."""
    return parse(yaml_source.read(path), path)


def load_if_any(path: Path | None) -> Settings | None:
    """Return the settings in a file, by default the usual one; None if no file is given and that one does not exist.

    Raises ConfigError as load does.
    """
    if path is None and not default_config_path().exists():
        return None
    return load(path or default_config_path())


def parse(text: str, path: Path) -> Settings:
    """Return the settings in text that is, or will be, the file at path. Raises ConfigError as load does."""
    document = yaml_source.parse(text, path)
    faults = document.faults
    try:
        settings = Settings.model_validate(document.data, context={"folder": path.absolute().parent})
        faults += cross_checks.names(settings) + cross_checks.folders(settings)
    except ValidationError as exc:
        faults += messages.faults(exc, Settings)
        settings = None
    if settings is None or faults:
        raise yaml_source.error(document, faults, path)
    return settings
