"""What lies in the outboxes and is not published: videos, ignored photos, what is behind links or cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from daemon.config.settings import Settings
from daemon.doctor.findings import Finding, fine, warning
from daemon.fs.filenames import Kind, kind_by_suffix
from daemon.fs.files import explain
from daemon.fs.tally import Tally
from daemon.fs.walk import walk
from daemon.status.lookup import outboxes
from daemon.status.status import unpublished
from daemon.status.status_text import ignored_words


def photos(settings: Settings) -> Iterator[Finding]:
    """Count them in each outbox that is there."""
    for outbox in outboxes(settings):
        if not outbox.root.is_dir():
            continue
        tally = Tally(outbox.root)
        closed: dict[Path, OSError] = {}
        links = []
        for path in walk(outbox.root, outbox.ignore, on_ignored=tally.add, on_unreadable=closed.__setitem__):
            tally.look_at(path)
            if path.is_symlink() and _may_hide_photos(path):
                links.append(path)
        links.sort()
        for found in tally.result():
            yield fine(outbox.root, f"has {ignored_words(unpublished(settings, outbox, found))}")
        if links:
            yield _linked(outbox.root, links)
        for folder, exc in closed.items():
            yield warning(
                folder,
                f"cannot be read ({explain(exc)}): photos in it are not published",
                "give the account that fawkesd runs as the right to read it",
            )


def _may_hide_photos(link: Path) -> bool:
    return link.is_dir() or kind_by_suffix(link) is Kind.PHOTO


def _linked(root: Path, links: list[Path]) -> Finding:
    what = "a symbolic link" if len(links) == 1 else f"{len(links)} symbolic links, the first"
    return warning(
        root,
        f"has {what} {links[0].relative_to(root)}, which is not followed: photos behind it are not published",
        "move or copy the photos into the outbox, or add the folder that the link points to to `outboxes`",
    )
