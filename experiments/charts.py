"""Charts as inline SVG: pure functions from numbers to markup, no script and no library.

Widths are percentages and heights pixels, so that a chart fills its column while its text keeps
its size from a telephone to a desk. Colours come from CSS classes, so they follow the page's
colour scheme. Every text is escaped here; the result is safe to put into a page as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

#: The plot's left edge and width in percent of the chart: room for the numbers of the y axis.
_LEFT, _WIDTH = 13.0, 84.0
#: Its top and height in pixels.
_TOP, _HEIGHT = 14.0, 150.0
#: Curves of at most this many points get a dot a point, with its numbers as a tooltip.
_DOTS = 40
#: Pixels of a text line and of an interval with its space: a forest plot's row.
_LINE, _MARK = 17.0, 27.0
#: Characters that fit on one line of a telephone beside each other.
_NARROW = 44
#: An interval reaching this many times farther from the reference than usual is cut off.
_FAR = 4.0


@dataclass(frozen=True)
class Series:
    """One line: ``x`` and ``y`` of the same length, and a band ``low``..``high`` if given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class Bar:
    """One row of a forest plot: an estimate, its interval and how the two are written."""

    label: str
    value: float
    low: float
    high: float
    text: str


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most ``most`` round numbers in [low, high], evenly spaced by 1, 2 or 5 x 10^n."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(
        power * factor
        for factor in (1, 2, 5, 10, 20)
        if _fitting(low, high, power * factor) <= most
    )
    first = math.ceil(low / step - 1e-9)
    return [(first + n) * step for n in range(_fitting(low, high, step))]


def _fitting(low: float, high: float, step: float) -> int:
    return math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1


def _tick_text(value: float, all_ticks: Sequence[float]) -> str:
    step = all_ticks[1] - all_ticks[0] if len(all_ticks) > 1 else abs(value) or 1.0
    if step >= 1e4 and value:
        return f"{value / 1000:,.0f}k".replace("-", "−")
    if step < 1e-4:
        return f"{value:.2g}"
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}".replace("-", "−")


def _range(values: Sequence[float], pad: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * pad or abs(high) * 0.1 or 1.0
    return low - room, high + room


def line_chart(series: Sequence[Series], *, title: str, x_label: str) -> Markup:
    """Draw lines with their bands.

    Args:
        series: at least one, each of at least one point; numbers are finite.
        title: what is shown; it opens the description for those who do not see the chart.
        x_label: what the x axis counts.
    """
    x_low, x_high = min(min(s.x) for s in series), max(max(s.x) for s in series)
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    y_low, y_high = _range(
        [v for s in series for v in (*s.y, *(s.low or ()), *(s.high or ()))], 0.06
    )

    def across(x: float) -> float:
        return 100 * (x - x_low) / (x_high - x_low)

    def down(y: float) -> float:
        return 100 * (y_high - y) / (y_high - y_low)

    grid = [_y_tick(y, text, down(y)) for y, text in _labelled(y_low, y_high, 5)]
    # There is no page one and a half: what is counted is marked at whole numbers.
    whole = all(float(x).is_integer() for s in series for x in s.x)
    grid += [_x_tick(text, across(x)) for x, text in _labelled(x_low, x_high, 5, whole)]
    lines, dots = [], []
    for number, one in enumerate(series, start=1):
        if one.low is not None and one.high is not None:
            edge = [*zip(one.x, one.high), *reversed([*zip(one.x, one.low)])]
            corners = " ".join(f"{across(x):.2f},{down(y):.2f}" for x, y in edge)
            lines.append(Markup('<polygon class="band s{}" points="{}"/>').format(number, corners))
        points = " ".join(f"{across(x):.2f},{down(y):.2f}" for x, y in zip(one.x, one.y))
        lines.append(Markup('<polyline class="line s{}" points="{}"/>').format(number, points))
        if len(one.x) <= _DOTS:
            dots += [
                Markup('<circle class="dot s{}" cx="{:.2f}%" cy="{:.2f}" r="2.5">').format(
                    number, _LEFT + _WIDTH * across(x) / 100, _TOP + _HEIGHT * down(y) / 100
                )
                + Markup("<title>{}: {} {:g}, {:.4g}</title></circle>").format(
                    one.name, x_label, x, y
                )
                for x, y in zip(one.x, one.y)
            ]
    said = "; ".join(
        f"{s.name} goes from {s.y[0]:.3g} to {s.y[-1]:.3g}"
        + f" (lowest {min(s.y):.3g}, highest {max(s.y):.3g})"
        for s in series
    )
    # Lines live in a stretched inner frame; dots and text outside it keep their shape.
    inner = Markup(
        '<svg x="{}%" y="{}" width="{}%" height="{}" viewBox="0 0 100 100" '
        'preserveAspectRatio="none" class="frame">{}</svg>'
    ).format(_LEFT, _TOP, _WIDTH, _HEIGHT, Markup("").join(lines))
    axis = Markup('<text class="axis" x="{}%" y="{}" text-anchor="middle">{}</text>').format(
        _LEFT + _WIDTH / 2, _TOP + _HEIGHT + 34, x_label
    )
    label = f"{title}, by {x_label}: {said}."
    return _svg(_TOP + _HEIGHT + 40, label, [*grid, inner, *dots, axis])


def _labelled(low: float, high: float, most: int, whole: bool = False) -> list[tuple[float, str]]:
    marks = [m for m in ticks(low, high, most) if not whole or m == round(m)]
    return [(mark, _tick_text(mark, marks)) for mark in marks]


def _y_tick(y: float, text: str, down: float) -> Markup:
    at = _TOP + _HEIGHT * down / 100
    kind = "zero" if y == 0 else "grid"
    return Markup('<line class="{}" x1="{}%" x2="{}%" y1="{:.2f}" y2="{:.2f}"/>').format(
        kind, _LEFT, _LEFT + _WIDTH, at, at
    ) + Markup('<text x="{}%" y="{:.2f}" text-anchor="end">{}</text>').format(
        _LEFT - 1.5, at + 4, text
    )


def _x_tick(text: str, across: float) -> Markup:
    return Markup('<text x="{:.2f}%" y="{}" text-anchor="middle">{}</text>').format(
        _LEFT + _WIDTH * across / 100, _TOP + _HEIGHT + 17, text
    )


def forest_plot(
    bars: Sequence[Bar],
    *,
    title: str,
    reference: float,
    reference_label: str,
    reference_band: tuple[float, float] | None = None,
) -> Markup:
    """Draw one interval a row around a vertical reference line.

    Intervals that cover the reference are drawn hollow. One that reaches much farther than the
    others is cut off with an arrow, so that it does not squeeze them; its numbers stay complete.
    """
    low, high = _forest_range(bars, [reference, *(reference_band or ())])

    def across(value: float) -> float:
        return 1 + 98 * (min(max(value, low), high) - low) / (high - low)

    lines = 2 if max(len(bar.label) + len(bar.text) for bar in bars) > _NARROW else 1
    deep = _LINE * lines + _MARK
    top, bottom = 24.0, 24.0 + deep * len(bars)
    parts = [
        Markup('<line class="grid" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1}" y2="{2}"/>').format(
            across(mark), top, bottom
        )
        + Markup('<text x="{:.2f}%" y="{}" text-anchor="{}">{}</text>').format(
            across(mark), bottom + 17, _anchor(across(mark)), text
        )
        for mark, text in _labelled(low, high, 5)
    ]
    if reference_band:
        left, right = map(across, reference_band)
        parts.append(
            Markup('<rect class="truth" x="{:.2f}%" width="{:.2f}%" y="{}" height="{}"/>').format(
                left, right - left, top, bottom - top
            )
        )
    at = across(reference)
    parts.append(
        Markup('<line class="reference" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1}" y2="{2}"/>').format(
            at, top - 6, bottom
        )
        + Markup('<text class="axis" x="{:.2f}%" y="13" text-anchor="{}">{}</text>').format(
            at, _anchor(at), reference_label
        )
    )
    for row, bar in enumerate(bars):
        covers = bar.low <= reference <= bar.high
        parts.append(_forest_row(bar, top + deep * row, lines, across, covers, (low, high)))
    said = "; ".join(f"{bar.label} {bar.text}" for bar in bars)
    return _svg(bottom + 26, f"{title}. {reference_label}. {said}.", parts)


def _forest_range(bars: Sequence[Bar], anchors: Sequence[float]) -> tuple[float, float]:
    reach = sorted(max(abs(bar.low - anchors[0]), abs(bar.high - anchors[0])) for bar in bars)
    limit = _FAR * reach[len(reach) // 2] if reach else 0.0
    ends = [end for bar in bars for end in (bar.low, bar.high)]
    near = [min(max(end, anchors[0] - limit), anchors[0] + limit) for end in ends]
    return _range([*near, *anchors], 0.04)


def _forest_row(
    bar: Bar,
    top: float,
    lines: int,
    across: Callable[[float], float],
    covers: bool,
    span: tuple[float, float],
) -> Markup:
    y, kind = top + _LINE * lines + 11, "covers" if covers else "clear"
    # On one line the numbers stand at the right end, else below the label.
    x, anchor = (100, "end") if lines == 1 else (0, "start")
    # The veil keeps the vertical lines from crossing the text out.
    veil = Markup('<rect class="veil" x="0" width="100%" y="{}" height="{}"/>').format(
        top + 4, _LINE * lines
    )
    words = veil + Markup(
        '<text class="label" x="0" y="{}">{}</text>'
        '<text class="value" x="{}%" y="{}" text-anchor="{}">{}</text>'
    ).format(top + _LINE, bar.label, x, top + _LINE * lines, anchor, bar.text)
    line = Markup(
        '<line class="interval {0}" x1="{1:.2f}%" x2="{2:.2f}%" y1="{3}" y2="{3}"/>'
    ).format(kind, across(bar.low), across(bar.high), y)
    ends = Markup("").join(
        Markup('<text class="arrow" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
            x, y + 5, anchor, sign
        )
        for x, anchor, sign, cut in (
            (0, "start", "◂", bar.low < span[0]),
            (100, "end", "▸", bar.high > span[1]),
        )
        if cut
    )
    dot = Markup('<circle class="point {}" cx="{:.2f}%" cy="{}" r="4.5"/>').format(
        kind, across(bar.value), y
    )
    inside = span[0] <= bar.value <= span[1]
    return words + line + ends + (dot if inside else Markup(""))


def _anchor(percent: float) -> str:
    """Keep a text that stands under a mark near an edge inside the chart."""
    return "start" if percent < 8 else "end" if percent > 92 else "middle"


def _svg(height: float, label: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="chart" role="img" height="{:.0f}" aria-label="{}">{}</svg>').format(
        height, label, Markup("").join(parts)
    )
