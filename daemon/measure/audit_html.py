"""An audit as one self-contained HTML file: tables, a plot, and thumbnails of the photos."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.measure import audit_text
from daemon.text import as_html, printable

if TYPE_CHECKING:
    from daemon.measure.audit import AuditJob
    from fawkes_engine.evaluation.audit import Audit

_THUMBNAIL_PX = 160
_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { text-align: left; padding: .2rem .8rem .2rem 0 }
.photos { display: flex; flex-wrap: wrap; gap: .8rem } figure { margin: 0; width: 160px }
figcaption { font-size: 12px; overflow-wrap: anywhere } .marked img { outline: 4px solid #d55e00 }
svg { max-width: 100%; height: auto }
"""


def page(job: AuditJob, found: Audit) -> str:
    """Return the report, which loads nothing external."""
    leaked = dict.fromkeys(found.leaked, "still looks like you to dlib")
    named = {
        path: f"named by {count} of {len(found.other_people)} trackers"
        for path, count in found.named.items()
        if count
    }
    title = f"What trackers make of {escape(job.user)}'s photos"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        f"{''.join(f'<p>{as_html(text)}</p>' for text in audit_text.summary(job, found))}\n"
        f"{_plot(found)}\n{_table(found)}\n<h2>What would improve it</h2>\n<ul>"
        f"{''.join(f'<li>{as_html(text)}</li>' for text in audit_text.advices(job, found))}</ul>\n"
        f"<h2>Published</h2>\n{_photos(found.published, leaked)}\n"
        f"<h2>Clean photos, which trackers were asked about</h2>\n{_photos(found.clean, named)}\n</body></html>\n"
    )


def _plot(found: Audit) -> str:
    from fawkes_engine.evaluation.audit import CLEAN, PUBLISHED, WITHOUT_LEAKS
    from fawkes_engine.evaluation.report import plot
    from fawkes_engine.evaluation.report.text import HEAD_TITLES

    colours = {CLEAN: plot.GREY, PUBLISHED: plot.ORANGE, WITHOUT_LEAKS: plot.BLUE}
    bars = [plot.Bar(HEAD_TITLES[row.head], row.tracker, row.learned, row.recognised) for row in found.rows]
    shown = {learned: colour for learned, colour in colours.items() if learned in {b.series for b in bars}}
    return plot.bars_svg("Named on clean photos by a tracker that learned", bars, shown)


def _table(found: Audit) -> str:
    head, _, *rows = (line.strip("| ").split(" | ") for line in audit_text.table(found).splitlines())
    return f"<table>{_row(head, 'th')}{''.join(_row(row, 'td') for row in rows)}</table>"


def _row(cells: list[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>\n"


def _photos(paths: list[str], remarks: Mapping[str, str]) -> str:
    return f'<div class="photos">{"".join(_figures(paths, remarks))}</div>'


def _figures(paths: list[str], remarks: Mapping[str, str]) -> Iterator[str]:
    for path in paths:
        remark = f"<br>{escape(remarks[path])}" if path in remarks else ""
        marked = ' class="marked"' if remark else ""
        yield (
            f'<figure{marked}><img alt="" src="{_thumbnail(Path(path))}">'
            f"<figcaption>{escape(printable(Path(path).name))}{remark}</figcaption></figure>\n"
        )


def _thumbnail(photo: Path) -> str:
    """Return a thumbnail as a data URL."""
    from PIL import Image

    from fawkes_engine.evaluation.trackers.sightings import upright

    image = Image.fromarray(upright(photo.read_bytes()))
    image.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
