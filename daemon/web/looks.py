"""The pages that show something; each is a function of the request that changes nothing."""

from __future__ import annotations

import math
import time
from pathlib import PurePath
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from daemon.errors import InputError
from daemon.model import WAITING, State
from daemon.state.gallery import Place, Wanted
from daemon.state.history import History, Record, reading
from daemon.state.targets import FileTargetStore
from daemon.status.explain import explain
from daemon.web.context import Context
from daemon.web.details import choices, faces_of, has_cloaked, redoing
from daemon.web.forms import number
from fawkes_engine import STRANGER

PAGE = 60
_FOLDERS_OF = 2000
TABS = {
    "published": (State.PUBLISHED,),
    "waiting": WAITING,
    "review": (State.REVIEW,),
    "held": (State.HELD,),
    "removed": (State.RECALLED, State.RECALLING, State.REJECTED, State.GONE),
}


class Looks:
    """The handlers. Raises InputError for what does not exist, and LedgerError; both become a page."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings

    def photos(self, request: Request) -> Response:
        """The grid."""
        query = request.query_params
        tab = query.get("show", "published")
        if tab not in TABS:
            raise InputError("there is no such list")
        user, folder, name = query.get("user") or None, query.get("folder") or None, query.get("q", "")[:100]
        wanted = Wanted(TABS[tab], user, PurePath(folder) if folder else None, name)
        with reading(self._settings.state_dir) as history:
            tiles = history.gallery.page(wanted, _place(query.get("after", "")), PAGE + 1)
            folders = history.gallery.folders(user, _FOLDERS_OF)
            counts = counts_of(history)
        chosen = {"show": tab, "user": user or "", "folder": folder or "", "q": name}
        after = ""
        if len(tiles) > PAGE:
            last = tiles[PAGE - 1].place
            after = urlencode({**chosen, "after": f"{last.updated!r}:{last.id}"})
        values = {
            "tiles": tiles[:PAGE],
            "tabs": {name: sum(counts.get(state, 0) for state in states) for name, states in TABS.items()},
            "links": {one: urlencode({**chosen, "show": one}) for one in TABS},
            "folders": [str(folder) for folder in folders],
            "chosen": chosen,
            "after": after,
            "is_first": "after" not in query,
            "reload": urlencode(chosen),
        }
        return self._context.render(request, "photos.html", values)

    def photo(self, request: Request) -> Response:
        """One photo, before and after: the row itself or, if asked, the newest of the same photo."""
        with reading(self._settings.state_dir) as history:
            record = record_of(history, request)
            newest = history.of_source(record.photo.source)[0]
            if "newest" in request.query_params:
                record = newest
        found = explain(self._settings, record.photo.source.path)
        values = {
            "photo": record.photo,
            "is_live": record.photo.id == newest.photo.id
            and record.photo.state in (*WAITING, State.SUPERSEDED, State.RECALLING),
            "record": record,
            "newest_id": newest.photo.id,
            "explanation": found,
            "faces": faces_of(record),
            "has_cloaked": has_cloaked(record.photo),
            "actions": choices(record),
            "redoing": redoing(record),
        }
        return self._context.render(request, "photo.html", values)

    def review(self, request: Request) -> Response:
        """The photos that wait for somebody, one at a time."""
        now = time.time()  # before they are read: what comes later was not shown
        with reading(self._settings.state_dir) as history:
            tiles = history.gallery.page(Wanted([State.REVIEW]), None, PAGE)
            count = counts_of(history).get(State.REVIEW, 0)
            chosen = number(request.query_params.get("id", ""))
            index = next((n for n, tile in enumerate(tiles) if tile.id == chosen), 0)
            record = history.of_id(tiles[index].id) if tiles else None
        values = {
            "tiles": tiles,
            "count": count,
            "until": repr(now),
            "record": record,
            "following": tiles[index + 1].id if index + 1 < len(tiles) else None,
            "faces": faces_of(record) if record else [],
            "redoing": redoing(record) if record else None,
            "is_on": any(user.review for user in self._settings.users),
        }
        return self._context.render(request, "review.html", values)

    def people(self, request: Request) -> Response:
        """The users, their targets, and the strangers met."""
        store = FileTargetStore(self._settings.targets_dir)
        known = {person: store.get(person) for person in store.people()}
        with reading(self._settings.state_dir) as history:
            fixed = {user.name: history.targets.of(user.name) for user in self._settings.users}
            counts = history.gallery.counts()
        values = {
            "known": known,
            "fixed": fixed,
            "published": {user: counts.get((user, State.PUBLISHED), 0) for user in fixed},
            "strangers": {
                name: target for name, target in known.items() if name.startswith(STRANGER) and target
            },
        }
        return self._context.render(request, "people.html", values)

    def audit(self, request: Request) -> Response:
        """What audits there are."""
        audits = self._context.audits
        users = [user.name for user in self._settings.users]
        runs = {user: audits.of(user) for user in users}
        values = {
            "runs": runs,
            "results": {user: audits.result(user) for user in users},
            "is_running": any(run and run.code is None for run in runs.values()),
        }
        return self._context.render(request, "audit.html", values)

    def plot(self, request: Request) -> Response:
        """The plot of an audit."""
        user = self._settings.user(request.path_params["user"])
        if user is None:
            raise InputError("there is no such plot")
        return Response(self._context.audits.plot(user.name), media_type="image/svg+xml")

    def report(self, request: Request) -> Response:
        """The report of an audit, which has its own style and pictures, and may do nothing else."""
        user = self._settings.user(request.path_params["user"])
        try:
            data = self._context.audits.report(user.name).read_bytes() if user else None
        except OSError:
            data = None
        if data is None:
            raise InputError("there is no such report")
        policy = (
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
        )
        return Response(data, media_type="text/html", headers={"Content-Security-Policy": policy})


def record_of(history: History, request: Request) -> Record:
    """The row that a request names by its id. Raises InputError."""
    record = history.of_id(request.path_params["id"])
    if record is None:
        raise InputError("there is no such photo")
    return record


def counts_of(history: History) -> dict[State, int]:
    """How many rows there are of each state, of all users."""
    found: dict[State, int] = {}
    for (_, state), count in history.gallery.counts().items():
        found[state] = found.get(state, 0) + count
    return found


def _place(text: str) -> Place | None:
    if not text:
        return None
    updated, _, photo_id = text.partition(":")
    row = number(photo_id)
    try:
        seconds = float(updated)
    except ValueError:
        seconds = math.nan
    if row is None or not math.isfinite(seconds):
        raise InputError("there is no such page")
    return Place(seconds, row)
