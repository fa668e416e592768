"""The comparison of rankers as Markdown and as a page of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.charts import Series, line_chart
from experiments.rankers_names import END, LONG, MYOPIC, START

_TEMPLATES = Path(__file__).parent / "templates"
_NONE = "-"


def printed_rows(table: dict[str, Any]) -> list[list[str]]:
    """Return the table as texts, the head first."""
    first = table["first"]
    gains = {(one["b"], one["metric"]): one for one in table["paired"]}
    head = [
        "policy", "return", f"{first} minus it", "by training", "with less luck", "way gone",
        "ctr", "purchases", "pages", "trust", "training, CPU s",
    ]  # fmt: skip
    return [head, *(_printed(row, gains) for row in table["rows"])]


def _printed(row: dict[str, Any], gains: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    name, figures, share = row["policy"], row["figures"], row["share_of_way"]
    gain, sure = gains.get((name, "return")), gains.get((name, "expected_return"))

    mean = {metric: figure["value"] for metric, figure in figures.items()}
    return [
        name,
        _span(mean["return"], figures["return"]),
        _difference(gain),
        " ".join(f"{one:+.4f}" for one in (gain or {}).get("by_seed", ())) or _NONE,
        _difference(sure),
        f"{share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})" if share else _NONE,
        f"{mean['ctr']:.2%}",
        f"{mean['purchases']:.4f}",
        f"{mean['session_length']:.2f}",
        f"{mean['trust']:.3f}",
        f"{row['train_cpu_seconds']:.0f}" if row["trained"] else _NONE,
    ]


def _difference(found: dict[str, Any] | None) -> str:
    return _NONE if found is None else _span(found["diff"], found, signed=True)


def _span(value: float, ends: dict[str, float], signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{value:{sign}.4f} ({ends['low']:{sign}.4f} to {ends['high']:{sign}.4f})"


def notes(table: dict[str, Any]) -> list[str]:
    """Return what a reader of the table must know."""
    seeds, first = table["seeds"], table["first"]
    if seeds > 1:
        meant = (
            f"Each ranker was trained {seeds} times. Intervals (95 %) are for another training in "
            "other sessions: both are random (Howe 1974). Few trainings say little about how "
            "much training varies; the JSON also has intervals for these very trainings "
            f"(`sessions`) and, Student's t with {seeds - 1} "
            f"degree{'s' if seeds > 2 else ''} of freedom, for these very sessions (`seeds`)."
        )
    else:
        meant = (
            "Each ranker was trained once: intervals (95 %) are for other sessions of these very "
            "rankers, and say nothing about another training."
        )
    return [
        f"{table['sessions']:,} sessions, the same for every policy, with reasons by the last "
        "PPO writer; return is that of a session, in median margins of the catalogue.",
        meant,
        f"{first} minus it: difference in return, paired by session; by training: the same for "
        "each training; with less luck: the same difference with pages at their expected reward, "
        "which has the same mean.",
        f"Way gone: share of the way from {START} to {END}, the best that each page can be by "
        "itself for one who knows the shoppers' hidden taste; with less luck, too.",
        "Baselines that are searched for or learned were found once, on sessions that are none "
        "of these; how much that varies is in no interval.",
        "Of each training that ranker stays which did best in sessions of its own, by their "
        "whole return; a variant that learns from the page alone is helped by that choice, too.",
    ]


def course_rows(found: dict[str, Any]) -> list[list[str]]:
    """Return what happens page by page as texts, the head first; ``found`` is the horizon."""
    sides = (LONG, MYOPIC)
    names = ("there", "classes", "satiation", "trust", "return_so_far")
    head = ["page", *(f"{_TOLD[n]}: {side}" for n in names for side in sides), f"{LONG} ahead by"]
    return [head, *_course_rows(found, names, sides)]


_TOLD = {
    "there": "still there", "classes": "classes shown", "satiation": "satiation",
    "trust": "trust", "return_so_far": "return so far",
}  # fmt: skip


def _course_rows(
    found: dict[str, Any], names: Sequence[str], sides: Sequence[str]
) -> Iterator[list[str]]:
    for at, page in enumerate(found["pages"]):
        cells = [found["variants"][side][name][at] for name in names for side in sides]
        lead = {key: values[at] for key, values in found["lead"].items()}
        ahead = _span(lead["value"], lead, signed=True)
        yield [str(page), *(_NONE if c is None else f"{c:.3f}" for c in cells), ahead]


def course_notes() -> list[str]:
    """Return what a reader of the pages' table must know."""
    return [
        f"The same sessions under {LONG} and {MYOPIC}, which was trained for the page at hand.",
        "Satiation with the shown classes, which a shop can tell from what it showed, and trust, "
        "which is hidden from it, both after the page; with the classes, means over the sessions "
        "that see the page.",
        "Return so far: over all sessions, pages at their expected reward.",
    ]


def as_markdown(table: dict[str, Any]) -> str:
    """Return the table with its notes, and what happens page by page, as Markdown."""
    text = _markdown(printed_rows(table), notes(table))
    if table["horizon"]:
        text += "\n" + _markdown(course_rows(table["horizon"]), course_notes())
    return text


def _markdown(rows: Sequence[Sequence[str]], said: Sequence[str]) -> str:
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return text + "\n\n" + "\n".join(f"- {note}" for note in said) + "\n"


def as_html(table: dict[str, Any], name: str) -> str:
    """Return the comparison as a page of its own; ``name`` is that of the run."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found = table["horizon"]
    return environment.get_template("rankers.html.j2").render(
        name=name,
        rows=printed_rows(table),
        notes=notes(table),
        sides=(LONG, MYOPIC),
        charts=charts(found) if found else [],
        course=course_rows(found) if found else [],
        course_notes=course_notes(),
    )


def charts(found: dict[str, Any]) -> list[tuple[str, Markup]]:
    """Draw how satiated and trusting shoppers are under both, how many stay, and who is ahead."""
    pages = [float(page) for page in found["pages"]]

    def line(side: str, key: str) -> Series:
        values = found["variants"][side][key]
        seen = [at for at, value in enumerate(values) if value is not None]
        return Series(side, [pages[at] for at in seen], [values[at] for at in seen])

    def both(key: str) -> list[Series]:
        return [line(side, key) for side in (LONG, MYOPIC)]

    lead = found["lead"]
    drawn = {
        "Satiation with what is shown": both("satiation"),
        "Trust of those still there": both("trust"),
        "Share of sessions still there": both("there"),
        f"Return so far: {LONG} minus {MYOPIC}": [
            Series("lead", pages, lead["value"], lead["low"], lead["high"])
        ],
    }
    return [
        (title, line_chart(series, title=title, x_label="page")) for title, series in drawn.items()
    ]
