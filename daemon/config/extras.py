"""The packages that only a part of the program needs, and that its extra installs."""

from __future__ import annotations

from importlib.util import find_spec

_WEB = ("jinja2", "starlette", "uvicorn")
_CLUSTER = ("cryptography", "distributed")


def missing_for_page() -> list[str]:
    """The packages that the web page needs and that are not installed: those of the extra `web`."""
    return [name for name in _WEB if find_spec(name) is None]


def missing_for_cluster() -> list[str]:
    """The packages that a cluster needs and that are not installed: those of the extra `cluster`."""
    return [name for name in _CLUSTER if find_spec(name) is None]
