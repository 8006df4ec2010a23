"""gitignore patterns: what git itself says is right."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.fs.gitignore import GitIgnore
from daemon.fs.ignore import ignored_by

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    return folder


def said_by_git(repository: Path, patterns: Sequence[str], paths: Sequence[str]) -> dict[str, str | None]:
    """The pattern by which git ignores each path, as it is written; None if it does not."""
    (repository / ".gitignore").write_bytes("".join(f"{line}\n" for line in patterns).encode())
    asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
    command = [
        "git",
        "-c",
        "core.ignoreCase=false",
        "check-ignore",
        "--no-index",
        "--stdin",
        "-z",
        "-v",
        "-n",
    ]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    answer = subprocess.run(
        command, input=asked, cwd=repository, env=variables, capture_output=True, check=False
    )
    assert answer.returncode in {0, 1}, answer.stderr
    fields = answer.stdout.split(b"\0")
    found: dict[str, str | None] = {}
    for number, path in zip(fields[1::4], fields[3::4], strict=True):
        pattern = patterns[int(number) - 1] if number else None
        found[os.fsdecode(path)] = None if pattern is None or pattern.startswith("!") else pattern
    return found


def said_by_us(patterns: Sequence[str], paths: Sequence[str]) -> dict[str, str | None]:
    """The same by our own matcher; the names are such that no built-in pattern ignores them."""
    found = {path: ignored_by(PurePath(path), tuple(patterns)) for path in paths}
    return {path: ignored.pattern if ignored else None for path, ignored in found.items()}


def is_taken(pattern: str) -> bool:
    """Whether a pattern is one that is not refused."""
    try:
        GitIgnore([pattern])
    except ValueError:
        return False
    return True


# Few letters, so that patterns and names meet; é is two bytes.
NAMES = st.text("aaabbB1é -]!#*\t\\", min_size=1, max_size=3)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
MEMBERS = st.sampled_from(
    [
        *"abB1-]!^\\",
        "\\]",
        "\\-",
        "\\\\",
        "a-b",
        "1-b",
        "[:digit:]",
        "[:upper:]",
        "[:alpha:]",
        "[:punct:]",
        "[:space:]",
        "[",
        "[:",
        ":",
    ]
)
BRACKETS = st.builds(
    "[{}{}]".format, st.sampled_from(["", "!", "^"]), st.lists(MEMBERS, min_size=1, max_size=4).map("".join)
)
PIECES = st.one_of(
    st.sampled_from(
        ["a", "b", "B", "1", "é", " ", "-", "]", "#", "!", "\t", "*", "*", "?", "**", "/", "/", "/**/", "\\"]
    ),
    st.sampled_from(["\\*", "\\?", "\\[", "\\ ", "\\!", "\\#", "\\\\", "\\a"]),
    BRACKETS,
)
PATTERNS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "", "!", "/", "!/", "**/"]),
    st.lists(PIECES, min_size=1, max_size=4).map("".join),
    st.sampled_from(["", "", "/", "/**", "/*", " ", "  ", "\t"]),
).filter(is_taken)


@needs_git
@given(
    patterns=st.lists(PATTERNS, min_size=1, max_size=4),
    paths=st.lists(PATHS, min_size=10, max_size=40, unique=True),
)
@example(patterns=["[[:digit:]]*.jpg"], paths=["5a.jpg", "a5.jpg"])
@example(patterns=["private/", "!private/keep.jpg"], paths=["private/keep.jpg", "private"])
@example(patterns=["private/*", "!private/keep.jpg"], paths=["private/keep.jpg", "private/a.jpg"])
@example(patterns=["a.jpg\t"], paths=["a.jpg", "a.jpg\t"])
@example(patterns=["?.jpg"], paths=["é.jpg", "e.jpg"])
def test_a_path_is_ignored_by_the_pattern_that_git_names(
    repository: Path, patterns: list[str], paths: list[str]
) -> None:
    assert said_by_us(patterns, paths) == said_by_git(repository, patterns, paths)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "matches nothing"),
        ("   ", "matches nothing"),
        ("!", "matches nothing"),
        ("/", "matches nothing"),
        ("./raw/", "write a path below the outbox"),
        ("../raw/", "write a path below the outbox"),
        ("a//b", "matches nothing"),
        ("#recycle/", r"begin it with \#"),
        ("raw\n*.jpg", "line break"),
        ("raw/\r", "line break"),
        ("a[bc", r"write \[ for the character itself"),
        ("a[b\\", r"write \[ for the character itself"),
        ("raw\\", "a backslash before nothing"),
        ("raw\\/", "a backslash before nothing or a slash"),
        ("[[:number:]].jpg", "unknown class [:number:]"),
        ("[z-a].jpg", "the range z-a"),
        ("[äöü]*.jpg", "write a pattern for each"),
        ("a[/]b", "write a pattern for each"),
        ("raw/**.jpg", "has ** beside other characters"),
        ("/raw**", "has ** beside other characters"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        GitIgnore([pattern])
