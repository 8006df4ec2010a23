#!/bin/sh
# pathspec's GitIgnoreSpec ignores less than git does for the same valid .gitignore.
#
# Version: pathspec 1.1.1 (2026-11-29), beside git 2.39.5.
# Likely guess: GitIgnoreSpec says what `git check-ignore` says; its documentation: "to fully replicate Git's handling".
# What happens: classes in brackets (`[[:digit:]]`) and escapes in them (`[\]]`) do not match; a file below an ignored
# folder is brought back by a later `!` pattern, which git refuses ("It is not possible to re-include a file if a parent
# directory of that file is excluded"); a tab at the end of a pattern, which to git is part of the name, is dropped.
# A program that uploads or publishes what is not ignored publishes more than git would.
# Output seen: four lines, each with "git: ignored, pathspec: not", or the reverse in the last.
#
# Makes its own input; installs into a temporary folder; fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pathspec==1.1.1
git init --quiet "$folder/repository"
cd "$folder/repository"
"$folder/venv/bin/python" -W ignore::FutureWarning - <<'PYTHON'
import subprocess
from pathlib import Path

from pathspec import GitIgnoreSpec

CASES = [
    (["[[:digit:]]*.jpg"], "5a.jpg", True),
    (["a[\\]]b"], "a]b", True),
    (["private/", "!private/keep.jpg"], "private/keep.jpg", True),
    (["a.jpg\t"], "a.jpg", False),
]
WORDS = {True: "ignored", False: "not"}
for lines, path, right in CASES:
    Path(".gitignore").write_text("".join(f"{line}\n" for line in lines))
    git = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path]).returncode == 0
    spec = GitIgnoreSpec.from_lines(lines).match_file(path)
    print(f"{lines} {path}: git: {WORDS[git]}, pathspec: {WORDS[spec]}")
    assert (git, spec) == (right, not right), "it changed"
PYTHON
