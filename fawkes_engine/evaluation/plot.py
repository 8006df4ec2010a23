"""The picture of an evaluation: how often each tracker still recognises, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from fawkes_engine.evaluation.protection import CLOAKED, CONTROL, NOISE, Evaluation, Recognition
from fawkes_engine.evaluation.report import HEAD_TITLES

# grey and blue for the controls, orange for the cloaks: told apart by colour-blind people, too (Okabe and Ito)
_COLOURS = {CONTROL: "#999999", NOISE: "#56b4e9", CLOAKED: "#d55e00"}
_BAR, _GAP, _PANEL_GAP = 22, 26, 62  # px
_LEFT, _TOP, _HEIGHT = 56, 70, 160
_LETTER = 8  # about the width of one


def as_svg(evaluation: Evaluation) -> str:
    """Draw one panel per head with a group of bars per tracker, each with its 95 % interval."""
    heads = list(dict.fromkeys(r.head for r in evaluation.recognition))
    names = [tracker.name for tracker in evaluation.trackers]
    group = len(_COLOURS) * _BAR + _GAP
    step = max(group, _GAP + _LETTER * max(map(len, names)))
    width = _LEFT + max(len(names) * step, 420)
    panels = [
        _panel(head, names, [r for r in evaluation.recognition if r.head == head], _top(i), width)
        for i, head in enumerate(heads)
    ]
    height = _top(len(heads)) - _PANEL_GAP + 44
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n{_legend()}{"".join(panels)}</svg>\n'
    )


def _panel(head: str, names: Sequence[str], measured: Sequence[Recognition], top: int, width: int) -> str:
    step = (width - _LEFT) / len(names)
    parts = [_text(_LEFT, top - 10, HEAD_TITLES[head], "start", 'font-weight="bold"')]
    for percent in (0, 25, 50, 75, 100):
        y = _y(percent / 100, top)
        parts.append(f'<line x1="{_LEFT}" x2="{width - 8}" y1="{y}" y2="{y}" stroke="#dddddd"/>\n')
        parts.append(_text(_LEFT - 6, y + 4, f"{percent} %", "end"))
    by_place = {(r.tracker, r.gallery): r for r in measured}
    for i, name in enumerate(names):
        middle = _LEFT + (i + 0.5) * step
        parts.append(_text(middle, top + _HEIGHT + 18, name, "middle"))
        for j, gallery in enumerate(_COLOURS):
            if (name, gallery) in by_place:
                left = middle + (j - len(_COLOURS) / 2) * _BAR
                parts.append(_bar(by_place[name, gallery], left, top))
    return "".join(parts)


def _bar(measured: Recognition, left: float, top: int) -> str:
    rate = measured.recognised
    y, low, high = (_y(share, top) for share in (rate.share, rate.low, rate.high))
    middle, width = left + _BAR / 2, _BAR - 4
    return (
        f'<rect x="{left + 2:.1f}" y="{y}" width="{width}" height="{top + _HEIGHT - y:.1f}" '
        f'fill="{_COLOURS[measured.gallery]}"><title>{escape(measured.gallery)}: {rate}</title></rect>\n'
        f'<path d="M{middle:.1f} {low}V{high}M{middle - 4:.1f} {low}h8M{middle - 4:.1f} {high}h8" '
        f'stroke="black" fill="none"/>\n'
    )


def _legend() -> str:
    parts = [
        _text(
            _LEFT, 18, "Users recognised on clean photos by a tracker that learned from their photos", "start"
        )
    ]
    x = _LEFT
    for gallery, colour in _COLOURS.items():
        parts.append(f'<rect x="{x}" y="28" width="12" height="12" fill="{colour}"/>\n')
        parts.append(_text(x + 18, 38, gallery, "start"))
        x += 40 + _LETTER * len(gallery)
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>\n'


def _y(share: float, top: int) -> float:
    return round(top + _HEIGHT * (1 - share), 1)


def _top(panel: int) -> int:
    return _TOP + 16 + panel * (_HEIGHT + _PANEL_GAP)
