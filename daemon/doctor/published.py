"""`doctor --deep`: compares every file in the sync folders with the ledger."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from daemon.config.settings import UserSettings
from daemon.doctor.findings import Finding, fault, fine, warning
from daemon.fs.files import DIRECTORY, opened, sha256_at
from daemon.fs.ignore import ignored_itself
from daemon.model import State
from daemon.state.history import History

_EXAMPLES = 5


def compare(user: UserSettings, history: History) -> Iterator[Finding]:
    """Compare one user's sync folder with the published files in the ledger."""
    known, published = defaultdict(set), set()
    recalled = {}
    originals = set()
    for record in history.newest():
        photo = record.photo
        if photo.input_sha256 is not None:
            originals.add(photo.input_sha256)
        if photo.output is not None and photo.source.outbox.user == user.name:
            known[photo.output.relative].add(photo.output.sha256)
            if photo.state is State.PUBLISHED:
                published.add(photo.output.relative)
            elif photo.state is State.RECALLED:
                recalled[photo.output.relative] = photo.output.sha256
    files = dict(_files(user.sync))
    leaked = [path for path, sha256 in files.items() if sha256 in originals]
    foreign = [path for path in files if path not in known and path not in leaked]
    changed = [path for path, sha256 in files.items() if path in known and sha256 not in known[path]]
    unread = [path for path, sha256 in files.items() if sha256 is None]
    yield from _report(
        user, leaked, foreign, [path for path in changed if path not in {*leaked, *unread}], unread
    )
    back = [path for path, sha256 in recalled.items() if path not in published and files.get(path) == sha256]
    if back:
        message = f"{len(back)} file(s) were recalled, and are back: {_some(back)}"
        yield warning(
            user.sync, message, "remove them here and wherever the sync tool brought them back from"
        )
    removed = published - set(files)
    yield fine(user.sync, f"{len(published) - len(removed)} published, {len(removed)} deleted by their owner")


def _report(
    user: UserSettings, leaked: list[Path], foreign: list[Path], changed: list[Path], unread: list[Path]
) -> Iterator[Finding]:
    if leaked:
        message = f"{len(leaked)} file(s) are uncloaked originals: {_some(leaked)}"
        yield fault(user.sync, message, "remove them here and wherever they were uploaded to")
    if changed:
        message = f"{len(changed)} file(s) changed after they were published: {_some(changed)}"
        yield warning(
            user.sync, message, "unless you changed them, remove them and run `fawkesd redo` on their photos"
        )
    if foreign:
        message = f"{len(foreign)} file(s) did not come from fawkesd: {_some(foreign)}"
        yield warning(
            user.sync,
            message,
            "remove them if in doubt: fawkesd does not know whether their faces are cloaked",
        )
    if unread:
        yield warning(
            user.sync,
            f"{len(unread)} file(s) cannot be read: {_some(unread)}",
            "check their owner and permissions",
        )


def _some(paths: Sequence[Path]) -> str:
    more = ", ..." if len(paths) > _EXAMPLES else ""
    return ", ".join(str(path) for path in sorted(paths)[:_EXAMPLES]) + more


def _files(root: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield every file below a folder with its hash, None if it cannot be read; skips files of sync tools."""
    for folder, subfolders, names in os.walk(root):
        relative = Path(folder).relative_to(root)
        subfolders[:] = [name for name in subfolders if not ignored_itself(relative / name, is_folder=True)]
        with opened(folder, DIRECTORY) as directory:
            for name in names:
                if not ignored_itself(relative / name, is_folder=False):
                    yield relative / name, _hash(name, directory)


def _hash(name: str, directory: int) -> str | None:
    try:
        return sha256_at(name, directory)
    except OSError:
        return None
