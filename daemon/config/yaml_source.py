"""Parses YAML into plain data and keeps the line of every key, so that errors can name it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from daemon.errors import ConfigError

KeyPath = tuple[str | int, ...]

# A part of what PyYAML says -> what to do; the first that is found counts
_ADVICE = {
    "'\\t'": "indent with spaces instead of tabs",
    "escape": "a backslash has a meaning in \"double quotes\"; use 'single quotes' or none",
    "quoted scalar": "close the quote that begins here",
    "simple key": "write a colon and a space between a key and its value",
    "mapping values": "begin keys of the same group in the same column, and put a value with a colon in quotes",
    "block": "begin the keys of a group, and the dashes of a list, in the same column",
    "flow": "close the bracket, and put an entry with a comma, a bracket or # in quotes",
}
_CHECK = "check indentation, colons and quotes"


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


def error(document: Document, faults: list[Fault], path: Path) -> ConfigError:
    """Return the error that lists every fault of a file with its line."""
    lines = sorted((document.line(fault.where), dotted(fault.where), fault.problem) for fault in faults)
    return ConfigError("\n".join(f"{path}:{line}: {key}: {problem}" for line, key, problem in lines))


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
    except RecursionError as exc:
        raise ConfigError(f"{path}:1: is not valid YAML: it is nested too deeply; {_CHECK}") from exc
    # What is no YAMLError comes from values: ValueError from a date such as 2026-99-99, the others from tags
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as exc:
        context = getattr(exc, "context", None) or ""
        began = context.endswith(("quoted scalar", "simple key"))  # the end of which may be many lines below
        mark = getattr(exc, "context_mark" if began else "problem_mark", None)
        line = (mark.line if mark else text.count("\n", 0, getattr(exc, "position", 0))) + 1
        problem = getattr(exc, "problem", None) or (str(exc).splitlines() or [type(exc).__name__])[0]
        advice = next((advice for sign, advice in _ADVICE.items() if sign in f"{context}: {problem}"), _CHECK)
        raise ConfigError(f"{path}:{line}: is not valid YAML: {problem}; {advice}") from exc
    return document


def _record_lines(document: Document, root: yaml.Node) -> None:
    """Record the line of every key below root, and duplicate keys, of which the last counts, as for the loader.

    An anchored node counts where first written.
    """
    seen: set[int] = set()
    todo: list[tuple[KeyPath, yaml.Node]] = [((), root)]
    while todo:
        where, node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        children: dict[KeyPath, yaml.Node] = {}
        for key, line, child in _children(node):
            path = (*where, key)
            if path in children:
                has_entries = not isinstance(child, yaml.ScalarNode)
                advice = "put the entries of both below one of them" if has_entries else "remove one of them"
                problem = f"is written twice (first on line {document.lines[path]}); {advice}"
                document.faults.append(Fault(path, problem))
            document.lines[path] = line
            children[path] = child
        todo += children.items()


def _children(node: yaml.Node) -> Iterator[tuple[str | int, int, yaml.Node]]:
    """Yield key, line (from 1) and value of each entry of a mapping or list node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield index, item.start_mark.line + 1, item
