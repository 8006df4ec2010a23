"""`fawkesd audit`: how often trackers would still name a user, on the user's own photos; nothing leaves the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from daemon.batch.output_folder import read
from daemon.errors import OutputExists
from daemon.fs import atomic
from daemon.fs.filenames import printable
from daemon.measure import audit_html as audithtml
from daemon.measure.audit_request import Order

if TYPE_CHECKING:
    from fawkes_engine.evaluation.audit import Audit, OwnPhoto


def run(order: Order) -> Audit:
    """Measure. Raises InputError, OutputExists and EvaluationError for what cannot be done."""
    published, clean = order.photos
    if order.html and order.html.exists():
        raise OutputExists(f"{printable(order.html)} exists already; move it away or choose another name")
    import torch

    from fawkes_engine.evaluation import audit
    from fawkes_engine.evaluation.trackers import tracker as trackers
    from fawkes_engine.identity.targets import Pool

    device, pool = torch.device("cpu"), Pool.load()
    at_hand = order.engine.ensemble
    if not order.gallery:
        unknown = [name for name in at_hand if name not in pool.vectors]
        at_hand = tuple(name for name in at_hand if name in pool.vectors)
        if unknown:
            typer.echo(
                f"without --gallery there are no other people for {', '.join(unknown)}: left out", err=True
            )
    names = dict.fromkeys((*at_hand, *order.trackers))
    judges = [trackers.load(n, device, pool=pool, models_dir=order.engine.models_dir) for n in names]
    made_of = {photo.path: photo.original for photo in order.shared}
    return audit.audit(
        [_photo(path, made_of[path]) for path in published],
        [_photo(path) for path in clean],
        judges,
        gallery=order.gallery,
        on_step=lambda doing: typer.echo(doing, err=True),
    )


def write_html(order: Order, found: Audit) -> None:
    """Write the report, if one is wanted. Raises OutputError."""
    if order.html:
        atomic.write(order.html, audithtml.page(order, found).encode(), replace=False)


def _photo(path: Path, made_of: Path | None = None) -> OwnPhoto:
    from fawkes_engine.evaluation.audit import OwnPhoto

    return OwnPhoto(str(path), read(path), str(made_of) if made_of else None)
