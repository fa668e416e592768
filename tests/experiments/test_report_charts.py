"""Numbers and charts of the report."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from experiments.charts import Bar, Series, forest_plot, line_chart, ticks
from experiments.report_curves import MAIN_CURVES
from experiments.report_parts import Interval, Paired
from experiments.report_words import decimals_for, number, percent
from tests.experiments import report_run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "text"),
    [
        (1234567, None, False, "1,234,567"),
        (0.0, None, False, "0.00"),
        (1.2345, None, False, "1.23"),
        (123.45, None, False, "123"),
        (0.01234, None, False, "0.0123"),
        (-2.5, 1, False, "−2.5"),
        (2.5, 1, True, "+2.5"),
        (-0.001, 2, True, "0.00"),
        (3.1e-7, None, False, "3.10e−07"),
        (None, 2, False, "–"),
        (math.nan, 2, False, "–"),
        (math.inf, None, False, "–"),
    ],
)
def test_numbers(value: float | None, decimals: int | None, signed: bool, text: str) -> None:
    assert number(value, decimals, signed) == text


def test_percent_and_decimals() -> None:
    assert percent(0.12345) == "12.3\u00a0%"
    assert percent(None) == "–"
    # The narrowest interval, 0.04 wide, shows two digits of its width.
    assert decimals_for([Interval(low=0, high=3), Interval(low=1, high=1.04)]) == 3
    assert decimals_for([Interval()]) == 2


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.03, 0.51, [0.1, 0.2, 0.3, 0.4, 0.5]),
        (-3, 7, [-2, 0, 2, 4, 6]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, most=6) == pytest.approx(expected)


def _attributes(markup: str, tag: str, kind: str) -> list[dict[str, str]]:
    found = re.findall(rf'<{tag} class="{kind}[^"]*"[^>]*>', markup)
    return [dict(re.findall(r'(\w+)="([^"]*)"', one)) for one in found]


def test_a_line_goes_where_its_numbers_are() -> None:
    chart = line_chart(
        [Series("a", [0, 5, 10], [1, 3, 2], [0, 2, 1], [2, 4, 3])], title="T", x_label="steps"
    )
    points = [
        tuple(map(float, pair.split(",")))
        for pair in _attributes(chart, "polyline", "line")[0]["points"].split()
    ]
    assert [x for x, _ in points] == [0, 50, 100]
    first, top, last = (y for _, y in points)
    # Down is more, so the highest value has the least; differences keep their proportions.
    assert first - last == pytest.approx(last - top, abs=0.02)
    assert first > last > top
    assert len(_attributes(chart, "polygon", "band")[0]["points"].split()) == 6
    assert "lowest 1, highest 3" in chart


def test_a_line_of_one_point_and_a_level_line_can_be_drawn() -> None:
    for values in ([2.0], [0.0, 0.0], [1e-9, 1e-9]):
        chart = line_chart([Series("a", list(range(len(values))), values)], title="T", x_label="x")
        assert "nan" not in chart
        assert "inf" not in chart


def test_a_forest_plot_is_to_scale_and_hollow_where_it_covers() -> None:
    bars = [Bar("sure", 2, 1, 3, "2"), Bar("unsure", 0.5, -1, 2, "0.5")]
    plot = forest_plot(bars, title="T", reference=0, reference_label="none")
    sure, unsure = _attributes(plot, "line", "interval")
    assert sure["class"] == "interval clear"
    assert unsure["class"] == "interval covers"
    zero = float(_attributes(plot, "line", "reference")[0]["x1"][:-1])
    one, three, two = (float(end[:-1]) for end in (sure["x1"], sure["x2"], unsure["x2"]))
    assert two - zero == pytest.approx(2 * (one - zero), abs=0.05)
    assert three - zero == pytest.approx(3 * (one - zero), abs=0.05)
    assert "sure 2" in plot


def test_one_huge_interval_is_cut_off_and_does_not_squeeze_the_others() -> None:
    bars = [Bar("IPS", 50, -900, 1000, "50"), *(Bar(f"{n}", 1, 0.5, 1.5, "1") for n in range(3))]
    plot = forest_plot(bars, title="T", reference=1.0, reference_label="truth")
    widths = [
        float(line["x2"][:-1]) - float(line["x1"][:-1])
        for line in _attributes(plot, "line", "interval")
    ]
    assert min(widths) > 20
    assert plot.count('class="arrow"') == 2
    assert len(_attributes(plot, "circle", "point")) == 3


def test_charts_escape_their_text() -> None:
    evil = '<b>&"'
    plot = forest_plot([Bar(evil, 1, 0, 2, evil)], title=evil, reference=0, reference_label=evil)
    chart = line_chart([Series(evil, [0, 1], [0, 1])], title=evil, x_label=evil)
    for markup in (plot, chart):
        assert "<b>" not in markup
        assert "&lt;b&gt;&amp;&#34;" in markup


def test_a_difference_turned_twice_is_itself() -> None:
    one = Paired(a="x", b="similarity", metric="return", diff=1, low=0.5, high=2)
    turned = one.against("x")
    assert (turned.a, turned.b, turned.diff) == ("similarity", "x", -1)
    assert (turned.low, turned.high) == (-2, -0.5)
    assert turned.against("similarity") == one
    assert one.against("similarity") == one


def test_the_fixture_is_plain_json() -> None:
    assert json.loads(json.dumps(report_run.metrics(), allow_nan=False)) == report_run.metrics()


def test_every_line_of_a_chart_has_a_look_of_its_own() -> None:
    """As many as the report's charts have at most."""
    page = (ROOT / "experiments" / "templates" / "report.html.j2").read_text(encoding="utf-8")
    most = max(len(columns) for _, _, columns in MAIN_CURVES)
    for line in range(1, most + 1):
        assert f"svg .line.s{line} {{" in page
        assert f"svg .dot.s{line}" in page
        assert line == 1 or f".key.s{line}::before" in page
