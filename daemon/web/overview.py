"""The overview: what the service does now, what is new, and what waits for somebody."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from daemon.fs.locks import holder
from daemon.model import State
from daemon.state import in_work
from daemon.state.gallery import Tile, Wanted
from daemon.state.history import History, reading
from daemon.state.in_work import InWork
from daemon.status import status
from daemon.web.context import Context
from daemon.web.looks import counts_of

_IN_WORK = (State.WORKING, State.STAGED, State.PUBLISHING)
_SHOWN_IN_WORK = 60
_NEWEST_SHOWN = 6
_HELD_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Work:
    """Photos that are worked on together. progress: how far their engine is; None if no engine has them now."""

    progress: InWork | None
    tiles: Sequence[Tile]


class Overview:
    """The handlers. Raises LedgerError, which becomes a page."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings

    def page(self, request: Request) -> Response:
        """What the service does now."""
        return self._overview(request, "overview.html")

    def live(self, request: Request) -> Response:
        """The part of the overview that is loaded again when something changes."""
        return self._overview(request, "_overview.html")

    def in_work(self, request: Request) -> Response:
        """The part of the overview that is loaded again while photos are cloaked."""
        with reading(self._settings.state_dir) as history:
            working = history.gallery.page(Wanted(_IN_WORK), None, _SHOWN_IN_WORK)
        return self._context.render(request, "_in_work.html", {"works": self._works(working)})

    def _works(self, working: Sequence[Tile]) -> list[Work]:
        """What the engines do, then the photos that no engine has now."""
        tiles = {tile.id: tile for tile in working}
        is_running = holder(self._settings.state_dir) is not None
        found = [
            Work(one, [tiles.pop(row) for row in one.ids if row in tiles])
            for one in (in_work.read(self._settings.state_dir) if is_running else [])
        ]
        return [*(one for one in found if one.tiles), *([Work(None, list(tiles.values()))] if tiles else [])]

    def _overview(self, request: Request, name: str) -> Response:
        found = status.read(self._settings)
        with reading(self._settings.state_dir) as history:
            working = history.gallery.page(Wanted(_IN_WORK), None, _SHOWN_IN_WORK)
            newest = history.gallery.page(Wanted([State.PUBLISHED]), None, _NEWEST_SHOWN)
            held = history.gallery.page(Wanted([State.HELD]), None, _HELD_SHOWN)
            reasons = {tile.id: _reason(history, tile) for tile in held}
            counts = counts_of(history)
        values = {
            "status": found,
            "folders": {user.name: user for user in self._settings.users},
            "working": working,
            "works": self._works(working),
            "newest": newest,
            "held": held,
            "reasons": reasons,
            "counts": counts,
            "eta_s": sum(user.eta_s or 0.0 for user in found.users),
            "today": sum(user.published_today for user in found.users),
            "now": datetime.datetime.now().astimezone().strftime("%H:%M:%S"),
        }
        return self._context.render(request, name, values)


def _reason(history: History, tile: Tile) -> str:
    record = history.of_id(tile.id)
    return (record.photo.reason or "") if record else ""
