"""Whether a folder that has appeared may be used: only then can be seen which folder it really is."""

from __future__ import annotations

from pathlib import Path

from daemon.config import cross_checks
from daemon.config.settings import Settings


class Placement:
    """Objects to configured folders that are links now, or that overlap another one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._links: set[Path] = set()
        self._has_news = False

    def objection(self, folder: Path) -> str | None:
        """Why a configured folder must not be used as it is now; None if it may be."""
        real = folder.resolve()
        if real != folder:
            # The ledger knows photos by their real paths: under another one they would be published twice.
            self._has_news |= folder not in self._links
            self._links.add(folder)
            return f"it is a symbolic link to {real} now; `fawkesd reload` follows it"
        return cross_checks.objection(self._settings, folder)

    def has_new_link(self) -> bool:
        """Whether a folder turned out to be a link since the last call; loading the configuration resolves it."""
        news, self._has_news = self._has_news, False
        return news
