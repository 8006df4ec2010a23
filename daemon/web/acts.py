"""The actions of the page: each becomes a command that the running service carries out, as those of the terminal do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from daemon.control import client, commands, decisions
from daemon.control.commands import LedgerCommand
from daemon.errors import DaemonError, InputError, NotAnswering
from daemon.exits import Exit
from daemon.fs.ignore import ignored_by
from daemon.fs.locks import holder
from daemon.model import Photo
from daemon.state.history import reading
from daemon.state.targets import FileTargetStore
from daemon.status.lookup import outboxes
from daemon.text import printable
from daemon.web.context import Context
from daemon.web.forms import form_of, number
from daemon.web.looks import record_of
from fawkes_engine import FULL_STRENGTH, MODES, STRANGER

Form = dict[str, str]


class Acts:
    """The handlers of POST requests; the guard has checked where they come from."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings

    async def photo(self, request: Request) -> Response:
        """Do something with one photo, then go on to the page that the form names, or to what became of the photo."""
        form = await form_of(request)
        message, is_error = await run_in_threadpool(self._run, lambda: [self._of_photo(request, form)])
        if form.get("back") == "review":
            following = number(form.get("following", ""))
            to = "/review" if following is None else f"/review?id={following}"
        else:
            to = f"/photos/{request.path_params['id']}?newest=1"
        return self._context.back(request, to, message, is_error=is_error)

    async def approve_all(self, request: Request) -> Response:
        """Approve everything that waited for review when the page was made."""
        form = await form_of(request)
        return await self._do(request, "/review", lambda: [_all_shown(form)])

    async def everything(self, request: Request) -> Response:
        """Pause or resume all outboxes, or retry all that failed."""
        makers: dict[str, Callable[[], list[LedgerCommand]]] = {
            "pause": lambda: [commands.PauseOutbox(o.user, o.root, None) for o in outboxes(self._settings)],
            "resume": lambda: [commands.Resume(o.user, o.root) for o in outboxes(self._settings)],
            "retry": lambda: [commands.RetryAll()],
        }
        make = makers.get(request.path_params["action"])
        if make is None:
            raise InputError("there is no such action")
        return await self._do(request, "/", make)

    async def forget(self, request: Request) -> Response:
        """Forget one stranger, or all of them, as `fawkesd forget` does."""
        form = await form_of(request)
        message, is_error = await run_in_threadpool(self._forget, form.get("person", ""))
        return self._context.back(request, "/people", message, is_error=is_error)

    async def audit(self, request: Request) -> Response:
        """Start an audit of one user."""
        form = await form_of(request)
        user = self._settings.user(form.get("user", ""))
        if user is None:
            raise InputError("there is no such user")
        try:
            await run_in_threadpool(self._context.audits.start, user)
        except (InputError, OSError) as exc:
            return self._context.back(request, "/audit", printable(str(exc)), is_error=True)
        return self._context.back(request, "/audit", f"The audit of {user.name} has started.")

    async def _do(self, request: Request, to: str, make: Callable[[], list[LedgerCommand]]) -> Response:
        message, is_error = await run_in_threadpool(self._run, make)
        return self._context.back(request, to, message, is_error=is_error)

    def _run(self, make: Callable[[], list[LedgerCommand]]) -> tuple[str, bool]:
        """Run commands; returns what to tell, and whether something was not done."""
        try:
            replies = [client.run(self._settings.state_dir, command) for command in make()]
        except DaemonError as exc:
            return printable(str(exc)), True
        return "\n".join(reply.message for reply in replies), any(r.code is not Exit.OK for r in replies)

    def _of_photo(self, request: Request, form: Form) -> LedgerCommand:
        with reading(self._settings.state_dir) as history:
            photo = record_of(history, request).photo
        ids = (photo.id,)
        source = photo.source
        match request.path_params["action"]:
            case "retry":
                return commands.Retry(source.outbox.user, source.outbox.root, source.relative)
            case "redo":
                return self._redo(photo, form)
            case "approve":
                return decisions.Approve(ids=ids, result=form.get("result", ""))
            case "reject":
                return decisions.Reject(ids=ids)
            case "recall":
                return decisions.Recall(ids=ids)
            case "publish":
                return decisions.Publish(ids=ids)
        raise InputError("there is no such action")

    def _redo(self, photo: Photo, form: Form) -> LedgerCommand:
        """Without a mode in the form it is cloaked as before."""
        user = self._settings.user(photo.source.outbox.user)
        ignored = ignored_by(photo.source.relative, user.ignore if user else ())
        if ignored is not None:
            raise InputError(
                f"it is ignored now, by {ignored.pattern}; remove that pattern to publish it again"
            )
        source = photo.source
        redo = commands.Redo(source.outbox.user, source.outbox.root, source.relative)
        if not form.get("mode"):
            return redo
        mode = next((name for name in MODES if name == form["mode"]), None)
        strength = number(form.get("strength", str(FULL_STRENGTH)))
        if mode is None or strength is None or strength > FULL_STRENGTH:
            raise InputError("there is no such mode or strength")
        return replace(redo, mode=mode, strength=strength)

    def _forget(self, person: str) -> tuple[str, bool]:
        store = FileTargetStore(self._settings.targets_dir)
        strangers = [name for name in store.people() if name.startswith(STRANGER)]
        wanted = strangers if person == STRANGER else [name for name in strangers if name == person]
        if not wanted:
            return "Nobody of that name is known.", True
        try:
            for name in wanted:
                store.forget(name)
            if holder(self._settings.state_dir) is not None:  # the engines know them until they start anew
                client.ask_running(self._settings.state_dir, commands.Reload())
        except NotAnswering as exc:
            return f"{len(wanted)} forgotten, once the service has reloaded: {printable(str(exc))}", True
        except DaemonError as exc:
            return printable(str(exc)), True
        return f"{len(wanted)} forgotten.", False


def _all_shown(form: Form) -> LedgerCommand:
    """Raises InputError if the form does not tell when the page was made."""
    try:
        return decisions.ApproveAll(until=float(form.get("until", "")))
    except ValueError as exc:
        raise InputError("this form is out of date; load the page again") from exc
