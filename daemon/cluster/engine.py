"""The engine whose work other machines do: shares a batch out to a cluster's nodes, and checks what they return.

It runs in the engine process as any other engine, so that Dask, which unpickles, stays out of the service. A node is
not believed: what it returns is read as plain data, and every photo is decoded, searched and measured here again.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import dask
from distributed import Client, Future, KilledWorker

from daemon.cluster import wire
from daemon.cluster.batch import Batch
from daemon.cluster.certificates import security
from daemon.cluster.link import LOST, Link
from daemon.cluster.snapshots import Snapshot, commit, take
from daemon.cluster.work import protect
from daemon.config.cluster import host_and_port
from daemon.state.nodes import NodesFile
from daemon.state.targets import FileTargetStore
from daemon.text import printable
from daemon.workers.environment import load_torch
from daemon.workers.protocol import Cluster, Outcome, Refused
from fawkes_engine import EngineSettings, NotProtected, Phase, Protected, Request, Step

log = logging.getLogger(__name__)

_IN_FLIGHT = 2  # tasks per engine: the next one is there when one is done
_BATCHES, _MOST_BATCHES = 4, 16  # per engine, and in all: with long batches nodes seldom wait for each other
_FIRST_PHOTOS = 16  # that a user is met by
_PATIENCE_S = 60.0  # for a node to come
_POLL_S = 0.5
_FETCH_S = 60.0
_HUNG_SHARE = 1 / 3  # of the photo timeout: two nodes can hang with a photo before the process counts as hung
_OPTIONS = {"distributed.admin.large-graph-warning-threshold": "1TiB"}  # a task carries its photos


class Checker(Protocol):
    """Meets users and checks what nodes return; `Inspector` is the real one."""

    def meet(self, requests: Sequence[Request]) -> None:
        """Give every user a target who has none, from the user's photos among these."""

    def objection(self, request: Request, returned: Protected) -> str | None:
        """Why it may not be published; None if it may."""


@dataclass(slots=True)
class _Task:
    photos: tuple[int, ...]
    snapshot: Snapshot
    future: Future[wire.Reply]


def make_engine(settings: EngineSettings, targets_dir: Path, cluster: Cluster) -> RemoteEngine:
    """Make the engine of a cluster. settings: those that its nodes must have, on the CPU for what is done here."""
    load_torch()
    from daemon.cluster.inspection import Inspector
    from fawkes_engine.fingerprint import expected

    targets = FileTargetStore(targets_dir)
    inspector = Inspector(settings, targets)
    return RemoteEngine(cluster, targets, targets_dir.parent, inspector, expected(settings))


class RemoteEngine:
    """Implements `EngineLike`. fingerprint: of the engines that may work. Raises ConfigError without certificates."""

    def __init__(
        self,
        cluster: Cluster,
        targets: FileTargetStore,
        state_dir: Path,
        checker: Checker,
        fingerprint: str,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """patience_s: without a node for so long, photos are deferred."""
        dask.config.set(_OPTIONS)
        self.fingerprint = fingerprint
        self._targets = targets
        self._checker = checker
        self._patience_s = patience_s
        self._place = "{}:{}".format(*host_and_port(cluster.scheduler))
        self._link = Link(
            cluster.scheduler,
            security(cluster.scheduler, cluster.certificates),
            fingerprint,
            NodesFile(state_dir),
            _HUNG_SHARE * cluster.photo_timeout_s,
        )
        self._done = threading.Event()

    @property
    def device_name(self) -> str:
        """For `status`."""
        return f"cluster {self._place}"

    @property
    def batches(self) -> int:
        """How many usual batches keep the nodes busy."""
        return max(1, min(_BATCHES * len(self._link.nodes), _MOST_BATCHES))

    def warm_up(self) -> None:
        """Look at the nodes once."""
        self._link.looked.wait()

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def protect(
        self, requests: Sequence[Request], *, on_step: Callable[[Step], None] | None = None
    ) -> Iterator[Outcome]:
        """Yield one outcome per request, in order; on_step is called only when a node has made progress."""
        batch, tasks = Batch(requests), list[_Task]()
        self._meet(requests)
        progress, share, seen_s = self._link.steps, 0.0, time.monotonic()
        try:
            while not batch.is_told:
                client, engines = self._link.client, len(self._link.nodes)
                if client is not None and engines:
                    seen_s = time.monotonic()
                    self._submit(batch, tasks, client, engines)
                elif time.monotonic() - seen_s > self._patience_s:
                    self._give_up(batch, tasks)
                self._collect(batch, tasks)
                done = batch.share + self._link.under_way / len(requests)
                if on_step and (progress != self._link.steps or done > share):
                    # a node tells of itself once a second, of a task that has just ended, too
                    progress, share = self._link.steps, min(1.0, max(share, done))
                    on_step(Step(Phase.CLOAK, share))
                yield from batch.told()
        finally:
            for task in tasks:
                task.future.release()

    def _meet(self, requests: Sequence[Request]) -> None:
        """Give users without a target one from their first photos, before any node works for them."""
        firsts: dict[str, list[Request]] = {}
        for request in requests:
            of_user = firsts.setdefault(request.user, [])
            if len(of_user) < _FIRST_PHOTOS:
                of_user.append(request)
        self._checker.meet([request for of_user in firsts.values() for request in of_user])

    def _submit(self, batch: Batch, tasks: list[_Task], client: Client, engines: int) -> None:
        while len(tasks) < _IN_FLIGHT * engines and (photos := batch.take(engines, at_rest=not tasks)):
            snapshot = take(self._targets)
            requests = [batch.requests[photo] for photo in photos]
            try:
                future = client.submit(
                    protect,
                    requests,
                    zlib.compress(snapshot.to_bytes(), 1),
                    pure=False,
                    retries=0,
                    resources={self.fingerprint: 1},
                )
            except LOST:
                batch.put_back(photos)
                return
            future.add_done_callback(lambda _future: self._done.set())
            tasks.append(_Task(photos, snapshot, future))

    def _give_up(self, batch: Batch, tasks: list[_Task]) -> None:
        for task in tasks:
            task.future.release()
            batch.put_back(task.photos)
        tasks.clear()
        batch.defer(self._link.fault)

    def _collect(self, batch: Batch, tasks: list[_Task]) -> None:
        """Wait a little for a task, and note what became of those that are done."""
        self._done.wait(_POLL_S)
        self._done.clear()
        done = [task for task in tasks if task.future.done()]
        for task in done:
            tasks.remove(task)
            try:
                answer = _fetched(task.future)
            except KilledWorker:
                batch.failed(task.photos, "it ended two nodes", deaths=2)
            except LOST as exc:  # the scheduler is gone, and with it the task: nobody has failed
                log.info("a task is lost: %s", exc)
                batch.put_back(task.photos)
            except Exception as exc:  # noqa: BLE001 - what a node has sent may fail in any way when it is unpickled
                batch.failed(
                    task.photos, f"a node returned no answer that can be read ({type(exc).__name__})"
                )
            else:
                self._note(batch, task, answer)
            finally:
                task.future.release()

    def _note(self, batch: Batch, task: _Task, answer: object) -> None:
        try:
            returned = wire.read(answer, [batch.requests[photo] for photo in task.photos], self.fingerprint)
        except wire.EngineFailed as exc:
            log.warning("the engine of the node at %s failed: %s", printable(exc.node), printable(str(exc)))
            self._link.restart(exc.node)
            batch.failed(task.photos, str(exc))
        except wire.NonsenseError as exc:
            log.warning("%s", printable(str(exc)))
            batch.failed(task.photos, str(exc))
        else:
            self._accept(batch, task, returned)

    def _accept(self, batch: Batch, task: _Task, returned: wire.Returned) -> None:
        changed = commit(self._targets, task.snapshot, returned.proposals)
        for photo, outcome in zip(task.photos, returned.outcomes, strict=True):
            if isinstance(outcome, Protected):
                if changed & {face.person for face in outcome.report.faces}:
                    # none of a user's first photos may have shown a face
                    self._checker.meet([batch.requests[photo]])
                    batch.conflicting(photo)
                    continue
                objection = self._checker.objection(batch.requests[photo], outcome)
                if objection is not None:
                    reason = f"what the node {returned.name} returned is not published: {objection}"
                    log.warning("%s", printable(reason))
                    batch.objected(photo, Refused(NotProtected.__name__, reason))
                    continue
            batch.answer(photo, outcome)


def _fetched(future: Future[wire.Reply]) -> object:
    """Return what a node has returned. Raises KilledWorker, and one of LOST if there is nothing."""
    if future.status == "error":
        exc = future.exception(timeout=_FETCH_S)
        if isinstance(exc, KilledWorker):
            raise exc
        return str(exc)  # no answer that can be read
    return future.result(timeout=_FETCH_S)
