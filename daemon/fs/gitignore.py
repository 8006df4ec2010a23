"""gitignore patterns as git itself matches them, byte by byte.

What matches is what `git check-ignore` says; the tests compare. So upper and lower case differ, `?` is one byte, and a
file below an ignored folder cannot be brought back. A pattern that git would silently never match, or that its
versions match differently, is refused: whoever wrote it expects photos to be ignored that would be published.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

_SLASH = ord("/")
_LOCAL_NAMES = {b"", b".", b".."}  # no part of a path has such a name
# `[:digit:]`, or one character, or a range of them
_MEMBER = re.compile(rb"\[:([^\]]*):\]|(\\.|[^\\])(?:-(\\.|[^\]\\]))?", re.DOTALL)
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, [*range(0x20), 0x7F])),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": " \t\n\r",
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One pattern. names: whether it is compared with the last part of a path alone, in every folder."""

    matches: re.Pattern[bytes]
    negated: bool
    folders: bool
    names: bool


class GitIgnore:
    """The patterns of one .gitignore."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Raises ValueError, which says what to write instead, for a line that cannot be meant as it is."""
        self._patterns = [_parse(line) for line in lines]

    def match(self, relative: PurePath, *, is_folder: bool) -> int | None:
        """The index of the pattern that ignores a path; None if none does, or if a later one brings it back.

        Looks at this path alone: git ignores everything below a folder that is ignored.
        """
        path, name = os.fsencode(relative), os.fsencode(relative.name)
        for index in range(len(self._patterns) - 1, -1, -1):
            pattern = self._patterns[index]
            if pattern.folders and not is_folder:
                continue
            if pattern.matches.fullmatch(name if pattern.names else path):
                return None if pattern.negated else index
        return None


def _parse(line: str) -> _Pattern:
    if any(character in line for character in "\n\r\0"):
        raise ValueError("contains a line break or a NUL; write each pattern as an entry of its own")
    if line.startswith("#"):
        raise ValueError(r"is a comment in a .gitignore; begin it with \# for names that begin with #")
    text = _without_trailing_spaces(line).encode()
    negated = text.startswith(b"!")
    text = text.removeprefix(b"!")
    folders = text.endswith(b"/")
    text = text.removesuffix(b"/")
    names = b"/" not in text
    text = text.removeprefix(b"/")
    matches = re.compile(_regex(text, names=names), re.DOTALL)
    if not _LOCAL_NAMES.isdisjoint(text.split(b"/")):
        raise ValueError(
            "matches nothing, since no file or folder is named '', '.' or '..'; write a path below the outbox"
        )
    return _Pattern(matches, negated, folders, names)


def _without_trailing_spaces(line: str) -> str:
    """Drop the spaces at the end, but for one that is escaped; a tab stays."""
    text = line.rstrip(" ")
    is_escaped = (len(text) - len(text.rstrip("\\"))) % 2 == 1
    return line[: len(text) + is_escaped]


def _regex(pattern: bytes, *, names: bool) -> bytes:
    """Translate a pattern without its `!` and its slashes at both ends. names: as in _Pattern."""
    regex = b""
    position = 0
    while position < len(pattern):
        character = pattern[position : position + 1]
        if character == b"*":
            part, position = _asterisks(pattern, position, names=names)
        elif character == b"[":
            part, position = _bracket(pattern, position)
        elif character == b"?":
            part, position = b"[^/]", position + 1
        elif character == b"\\":
            part, position = _escaped(pattern, position)
        else:
            part, position = re.escape(character), position + 1
        regex += part
    return regex


def _escaped(pattern: bytes, start: int) -> tuple[bytes, int]:
    character = pattern[start + 1 : start + 2]
    if character in {b"", b"/"}:
        raise ValueError(
            r"has a backslash before nothing or a slash; write \\ for a backslash, / for a slash"
        )
    return re.escape(character), start + 2


def _asterisks(pattern: bytes, start: int, *, names: bool) -> tuple[bytes, int]:
    end = start
    while pattern[end : end + 1] == b"*":
        end += 1
    if end - start == 1 or names:
        return b"[^/]*", end
    before, after = pattern[start - 1 : start], pattern[end : end + 1]
    if before not in {b"", b"/"} or after not in {b"", b"/"}:
        # To git this is one asterisk, except behind plain text: there foo**/bar matches foobar.
        raise ValueError(
            "has ** beside other characters; write * within a name, /**/ for folders of any depth"
        )
    return (b"(?:.*/)?", end + 1) if after else (b".*", end)


def _bracket(pattern: bytes, start: int) -> tuple[bytes, int]:
    position = first = start + 1 + (pattern[start + 1 : start + 2] in {b"!", b"^"})
    members: set[int] = set()
    while position == first or pattern[position : position + 1] != b"]":
        found = _MEMBER.match(pattern, position)
        if found is None:
            raise ValueError(r"has a [ without its ]; write \[ for the character itself")
        members |= _members(found)
        position = found.end()
    if first > start + 1:
        members = set(range(0x100)) - members
    return b"[" + b"".join(b"\\x%02x" % member for member in sorted(members - {_SLASH})) + b"]", position + 1


def _members(found: re.Match[bytes]) -> set[int]:
    name, low, high = found.groups()
    if b"/" in found[0] or not found[0].isascii():
        raise ValueError(
            "has a slash or a letter beyond ASCII within [], which stands for one byte; write a pattern for each"
        )
    if name is not None:
        if name.decode() not in _CLASSES:
            raise ValueError(f"has the unknown class [:{name.decode()}:]; git knows {', '.join(_CLASSES)}")
        return set(_CLASSES[name.decode()].encode())
    first, last = low[-1], (high or low)[-1]
    if first > last:
        raise ValueError(f"has the range {found[0].decode()}, which is empty; write the lower end first")
    return set(range(first, last + 1))
