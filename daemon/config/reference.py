"""Generates the commented reference configuration and the JSON schema from the settings model.

`python -m daemon.config.reference > config/fawkesd.yaml` writes the reference configuration.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from daemon.config import settings
from daemon.config.settings import Settings, UserSettings

EXAMPLE: Mapping[str, Any] = {
    "state_dir": "~/.local/state/fawkesd",
    "users": [{"name": "alice", "outboxes": ["~/Pictures/outbox"], "sync": "~/Pictures/sync"}],
}
_HEAD = """\
# Configuration of fawkesd. `fawkesd check-config` checks it and reports every fault with its line.
# Every value below is the default, except names and folders.

"""


def render(values: Mapping[str, Any]) -> str:
    """Return the text of a configuration with every key; a key that is not in values gets its default."""
    return _HEAD + "\n".join(_group(Settings, values))


def schema() -> str:
    """Return the JSON schema of the configuration, for editors that check the file while you type."""
    document = Settings.model_json_schema()
    for name, group in {Settings.__name__: document, **document["$defs"]}.items():
        for key, described in group.get("properties", {}).items():
            comment = _comments(getattr(settings, name))[key]
            group["properties"][key] = dict(sorted({**described, "description": comment}.items()))
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **document,
        "title": "fawkesd configuration",
    }
    return json.dumps(document, indent=2) + "\n"


@cache
def _comments(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each key of a group: key -> text.

    Pydantic's use_attribute_docstrings would read them whenever a command loads the settings.
    """
    [group] = ast.parse(inspect.getsource(model)).body
    assert isinstance(group, ast.ClassDef)
    return {
        key.target.id: inspect.cleandoc(str(text.value.value))
        for key, text in pairwise(group.body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def _group(model: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield each key of a group as commented lines that end in a line break."""
    comments = _comments(model)
    for key, field in model.model_fields.items():
        value = values.get(key, field.get_default(call_default_factory=True))
        comment = textwrap.fill(comments[key], width=96, initial_indent="# ", subsequent_indent="# ")
        yield f"{comment}\n{_entry(key, value)}"


def _entry(key: str, value: object) -> str:
    if isinstance(value, BaseModel):
        return f"{key}:\n" + textwrap.indent("\n".join(_group(type(value), value.model_dump())), "  ")
    if key == "users" and isinstance(value, list):
        return f"{key}:\n" + "".join(map(_user, value))
    if isinstance(value, Path):
        value = str(value)
    elif isinstance(value, Enum):
        value = value.value
    elif isinstance(value, tuple):
        value = list(value)
    # text with line breaks or other invisible characters is escaped, any other is written as it is
    visible = "".join(value).isprintable() if isinstance(value, str | list) else True
    return yaml.safe_dump({key: value}, allow_unicode=visible, width=10_000)


def _user(values: Mapping[str, Any]) -> str:
    lines = textwrap.indent("\n".join(_group(UserSettings, values)), "    ")
    return lines.replace("    #", "  - #", 1)


if __name__ == "__main__":
    print(render(EXAMPLE), end="")
