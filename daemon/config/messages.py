"""Translates validation errors of the settings model into messages for the person who wrote the file."""

from __future__ import annotations

import json
from difflib import get_close_matches
from types import NoneType
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel, ValidationError

from daemon.config.yaml_source import Fault, KeyPath

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# pydantic's error type -> what is wrong; what to do. {value} is the value in the file.
_WORDS = {
    "missing": "is missing; add it",
    "invalid_key": "is not text; write the key in quotes",
    "string_type": "must be text, not {value}; put it in quotes",
    "string_too_short": "is empty; write at least {min_length} character",
    "string_too_long": "is longer than {max_length} characters; shorten it",
    "path_type": "must be the path of a folder, not {value}; write it as text",
    "int_type": "must be a whole number, not {value}; write it without quotes or a decimal point",
    "float_type": "must be a number, not {value}; write it without quotes or a unit",
    "finite_number": "must be a finite number, not {value}; choose another",
    "tuple_type": "must be a list, not {value}; write each entry on its own line after a dash",
    "model_type": "must be a group of keys; indent its keys beneath it or remove the line",
    "enum": "must be {expected}, not {value}; correct it",
    "literal_error": "must be {expected}, not {value}; correct it",
    "too_short": "is empty; write at least {min_length} entry",
    "greater_than": "must be more than {gt}, not {value}; choose a larger value",
    "greater_than_equal": "must be at least {ge}, not {value}; choose a larger value",
    "less_than": "must be less than {lt}, not {value}; choose a smaller value",
    "less_than_equal": "must be at most {le}, not {value}; choose a smaller value",
}
# The same where the value's type tells what was meant: a lone ~ means nothing in YAML, and keys may lack their dash.
_WORDS_BY_TYPE = {
    (
        "path_type",
        NoneType,
    ): "is empty (a lone ~, too); write the path of a folder, such as ~/Pictures/outbox",
    ("path_type", dict): "must be the path of a folder, not keys; write it in quotes if it has a colon",
    ("tuple_type", NoneType): "is empty; write each entry on its own line after a dash",
    (
        "tuple_type",
        dict,
    ): "must be a list; write a dash before the first key of each entry, as in `- name: alice`",
}
_NO_KEYS = (
    "must have keys, such as users: at the beginning of a line; `fawkesd init` writes a file that has them"
)
_PATTERNS = {
    "name": "{value} cannot be used; write letters A-Z or a-z, digits, . _ or -, beginning with a letter, digit or _",
    "device": "{value} is not a device; write auto, cpu, cuda or cuda:N (N from 0), cluster:tls://HOST:PORT, or "
    "several separated by commas",
}


def faults(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """Translate pydantic's errors about model into faults: each with its key, and what to do."""
    return [
        Fault(_where(details), _problem(details, model))
        for details in error.errors()
        if _is_relevant(details)
    ]


def _where(details: ErrorDetails) -> KeyPath:
    where = details["loc"]
    if details["type"] == "invalid_key":  # a number used as a key is not a list index
        return (*where[:-1], str(where[-1]))
    return where


def _is_relevant(details: ErrorDetails) -> bool:
    """Whether an error is not a mere consequence of others: pydantic calls a list of invalid entries too short."""
    return not (details["type"] == "too_short" and details["input"])


def _problem(details: ErrorDetails, model: type[BaseModel]) -> str:
    where, kind = details["loc"], details["type"]
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(str(where[-1]), _model_at(where[:-1], model))
    if not where and kind == "model_type":
        return _NO_KEYS
    if kind == "value_error":  # raised by our own validators, with a finished message
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        words = _PATTERNS[str(where[-1])]
    else:
        words = _WORDS_BY_TYPE.get((kind, type(details["input"]))) or _WORDS.get(kind, "")
    if not words:
        return f"{details['msg']}; correct it"
    return words.format(value=_as_written(details["input"]), **context)


def _as_written(value: object) -> str:
    """A value as the file has it: `true`, not Python's True."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def _unknown_key(key: str, model: type[BaseModel]) -> str:
    known = list(model.model_fields)
    close = get_close_matches(key, known, n=1)
    return (
        f"is not a known key; did you mean {close[0]}?"
        if close
        else f"is not a known key; known keys: {', '.join(known)}"
    )


def _model_at(where: KeyPath, model: type[BaseModel]) -> type[BaseModel]:
    """Return the model for the group of keys at where."""
    for part in where:
        if isinstance(part, str):
            annotation = model.model_fields[part].annotation
            # users is tuple[UserSettings, ...], each other group is a model itself
            inner = next(iter(get_args(annotation)), annotation)
            assert isinstance(inner, type)
            assert issubclass(inner, BaseModel)
            model = inner
    return model
