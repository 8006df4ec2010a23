"""For the tests of commands on a user's own photos: what the service has published, without running it."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Home

from daemon.fs.files import snapshot_of
from daemon.model import Change, Outbox, Output, Settled, Source, State
from daemon.state.ledger import LEDGER_NAME, Ledger


def publish(
    home: Home, name: str, original: bytes, published: bytes, people: tuple[str, ...] = ("ada",)
) -> None:
    """Write both files and the ledger's row, whose report names these people."""
    photo, output = home.outbox / name, home.sync / name
    photo.write_bytes(original)
    output.write_bytes(published)
    home.settings.state_dir.mkdir(exist_ok=True)
    ledger = Ledger(home.settings.state_dir / LEDGER_NAME)
    source = Source(Outbox("ada", home.outbox), Path(name))
    snapshot = snapshot_of(photo)
    assert snapshot is not None
    ledger.admit([Settled(source, snapshot)])
    report = json.dumps({"faces": [{"person": person} for person in people]})
    for state in (State.WORKING, State.STAGED, State.PUBLISHING, State.PUBLISHED):
        row = ledger.latest(source)
        assert row
        ledger.move(row, state, Change(output=Output(Path(name), "00"), report=report))
    ledger.close()
