"""Recognition rates by tracker as an SVG bar chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from fawkes_engine.evaluation.metrics.rates import Rate
from fawkes_engine.evaluation.protection import CLOAKED, CONTROL, NOISE, Evaluation
from fawkes_engine.evaluation.report.text import HEAD_TITLES

# safe for colour blindness (Okabe and Ito); grey and blue for controls, orange for what is measured
GREY, BLUE, ORANGE = "#999999", "#56b4e9", "#d55e00"
_COLOURS = {CONTROL: GREY, NOISE: BLUE, CLOAKED: ORANGE}
_BAR, _GAP, _PANEL_GAP = 22, 26, 62  # px
_LEFT, _TOP, _HEIGHT = 56, 70, 160
_LETTER = 8  # approximate width of a letter, px


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar. panel: title of its panel. group: label below its group of bars. series: determines its colour."""

    panel: str
    group: str
    series: str
    rate: Rate


def as_svg(evaluation: Evaluation) -> str:
    """Draw one panel per head with a group of bars per tracker, each with its 95 % interval."""
    return bars_svg(
        "Users recognised on clean photos by a tracker that learned from their photos",
        [
            Bar(HEAD_TITLES[r.head], r.tracker, r.gallery, r.recognised)
            for r in evaluation.recognition
            if r.gallery in _COLOURS
        ],
        _COLOURS,
    )


def bars_svg(title: str, bars: Sequence[Bar], colours: Mapping[str, str]) -> str:
    """Draw the bars in stacked panels; colours: series -> its colour, in the order of the bars."""
    panels = list(dict.fromkeys(bar.panel for bar in bars))
    groups = list(dict.fromkeys(bar.group for bar in bars))
    step = max(len(colours) * _BAR + _GAP, _GAP + _LETTER * max(map(len, groups)))
    width = _LEFT + max(len(groups) * step, 420)
    drawn = [
        _panel(panel, groups, [bar for bar in bars if bar.panel == panel], colours, (_top(i), width))
        for i, panel in enumerate(panels)
    ]
    height = _top(len(panels)) - _PANEL_GAP + 44
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n{_legend(title, colours)}{"".join(drawn)}</svg>\n'
    )


def _panel(
    title: str,
    groups: Sequence[str],
    bars: Sequence[Bar],
    colours: Mapping[str, str],
    place: tuple[int, int],
) -> str:
    """place: top and width, px."""
    top, width = place
    step = (width - _LEFT) / len(groups)
    parts = [_text(_LEFT, top - 10, title, "start", 'font-weight="bold"')]
    for percent in (0, 25, 50, 75, 100):
        y = _y(percent / 100, top)
        parts.append(f'<line x1="{_LEFT}" x2="{width - 8}" y1="{y}" y2="{y}" stroke="#dddddd"/>\n')
        parts.append(_text(_LEFT - 6, y + 4, f"{percent} %", "end"))
    middles = {group: _LEFT + (i + 0.5) * step for i, group in enumerate(groups)}
    for group, middle in middles.items():
        parts.append(_text(middle, top + _HEIGHT + 18, group, "middle"))
    for bar in bars:
        left = middles[bar.group] + (list(colours).index(bar.series) - len(colours) / 2) * _BAR
        parts.append(_bar(bar, colours[bar.series], left, top))
    return "".join(parts)


def _bar(bar: Bar, colour: str, left: float, top: int) -> str:
    y, low, high = (_y(share, top) for share in (bar.rate.share, bar.rate.low, bar.rate.high))
    middle, width = left + _BAR / 2, _BAR - 4
    return (
        f'<rect x="{left + 2:.1f}" y="{y}" width="{width}" height="{top + _HEIGHT - y:.1f}" '
        f'fill="{colour}"><title>{escape(bar.series)}: {bar.rate}</title></rect>\n'
        f'<path d="M{middle:.1f} {low}V{high}M{middle - 4:.1f} {low}h8M{middle - 4:.1f} {high}h8" '
        f'stroke="black" fill="none"/>\n'
    )


def _legend(title: str, colours: Mapping[str, str]) -> str:
    parts = [_text(_LEFT, 18, title, "start")]
    x = _LEFT
    for series, colour in colours.items():
        parts.append(f'<rect x="{x}" y="28" width="12" height="12" fill="{colour}"/>\n')
        parts.append(_text(x + 18, 38, series, "start"))
        x += 40 + _LETTER * len(series)
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>\n'


def _y(share: float, top: int) -> float:
    return round(top + _HEIGHT * (1 - share), 1)


def _top(panel: int) -> int:
    return _TOP + 16 + panel * (_HEIGHT + _PANEL_GAP)
