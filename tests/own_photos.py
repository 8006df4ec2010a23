"""For the tests of commands on a user's own photos: what the service has published, without running it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from conftest import Home

from daemon.fs.files import snapshot_of
from daemon.model import Change, Outbox, Output, Settled, Source, State
from daemon.state.ledger import Ledger
from daemon.state.schema import LEDGER_NAME


def publish(
    home: Home, name: str, original: bytes, published: bytes, people: tuple[str, ...] = ("ada",)
) -> None:
    """Write both files and the ledger's row, whose report names these people."""
    photo = home.outbox / name
    photo.write_bytes(original)
    (home.sync / name).write_bytes(published)
    record(home.settings.state_dir, photo, published, people)


def record(state_dir: Path, photo: Path, published: bytes, people: tuple[str, ...] = ("ada",)) -> None:
    """Write the row of a photo that was published into the ledger."""
    state_dir.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(state_dir / LEDGER_NAME)
    source = Source(Outbox("ada", photo.parent), Path(photo.name))
    snapshot = snapshot_of(photo)
    assert snapshot is not None
    ledger.admit([Settled(source, snapshot)])
    report = json.dumps({"faces": [{"person": person} for person in people]})
    output = Output(Path(photo.name), hashlib.sha256(published).hexdigest())
    for state in (State.WORKING, State.STAGED, State.PUBLISHING, State.PUBLISHED):
        row = ledger.latest(source)
        assert row
        ledger.move(row, state, Change(output=output, report=report))
    ledger.close()
