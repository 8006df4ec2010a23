"""Parses YAML into plain data and keeps the line of every key, so that errors can name it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from daemon.errors import ConfigError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault in a configuration. where: the key. problem: what is wrong; what to do."""

    where: KeyPath
    problem: str


@dataclass(slots=True)
class Document:
    """A parsed file. data: plain values. lines: key -> line, from 1. faults: keys written twice."""

    data: object = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, where: KeyPath) -> int:
        """Return the line of a key, or of its innermost parent that the file has."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)


def dotted(where: KeyPath) -> str:
    """Return `("users", 0, "sync")` as `users[0].sync`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.removeprefix(".") or "the file"


def read(path: Path) -> str:
    """Return the text of a configuration file. Raises ConfigError if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: no such file; create one with `fawkesd init`") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {exc.start}); save it as UTF-8") from exc
    except OSError as exc:
        raise ConfigError(
            f"{path}: cannot be read ({exc.strerror}); correct the path or its permissions"
        ) from exc


def parse(text: str, path: Path) -> Document:
    """Parse YAML text into plain data and line numbers. Raises ConfigError if it is not valid YAML."""
    document = Document()
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            _record_lines(document, node)
            document.data = loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as exc:  # ValueError: a date such as 2026-99-99
        mark = getattr(exc, "problem_mark", None)
        line = (mark.line if mark else text.count("\n", 0, getattr(exc, "position", 0))) + 1
        problem = getattr(exc, "problem", None) or str(exc).splitlines()[0]
        raise ConfigError(
            f"{path}:{line}: is not valid YAML: {problem}; check indentation, colons and quotes"
        ) from exc
    return document


def _record_lines(document: Document, root: yaml.Node) -> None:
    """Record the line of every key below root, and duplicate keys; an anchored node counts where first written."""
    seen: set[int] = set()
    todo: list[tuple[KeyPath, yaml.Node]] = [((), root)]
    while todo:
        where, node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for key, line, child in _children(node):
            path = (*where, key)
            if path in document.lines:
                problem = f"is written twice (first on line {document.lines[path]}); remove one of them"
                document.faults.append(Fault(path, problem))
            document.lines[path] = line
            todo.append((path, child))


def _children(node: yaml.Node) -> Iterator[tuple[str | int, int, yaml.Node]]:
    """Yield key, line (from 1) and value of each entry of a mapping or list node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield index, item.start_mark.line + 1, item
