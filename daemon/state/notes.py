"""Small files of the state folder that are written about once a second, and only tell: nothing hangs on them.

They are no part of the ledger, where each note would be a transaction, and no disk is waited for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_PRIVATE = partial(os.open, mode=0o600)


def write(path: Path, rows: Iterable[DataclassInstance]) -> None:
    """Write these rows in place, as JSON. Raises OSError."""
    with open(path, "w", opener=_PRIVATE) as file:
        file.write(json.dumps([asdict(row) for row in rows]))
