"""One self-contained HTML page from a simulation: its figures, its shop, and one session to see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from envs.errors import UserError
from envs.files import write_text
from envs.similarity import SCORES
from envs.statistics import PUBLISHED, ShopStatistics
from experiments.bidi import unturned
from experiments.charts import Series, line_chart
from experiments.report import pieces
from experiments.report_data import Simulation
from experiments.report_results import metric_scales, pair_chart, pair_table, ranking
from experiments.report_words import (
    METRICS,
    amount,
    covers,
    decimals_for,
    headline_pair,
    number,
    percent,
    policy_name,
    return_pairs,
    span,
)
from experiments.session_report_trace import Trace, Turn, telling_session, trace
from experiments.simulate_field import Simulated

_TEMPLATES = Path(__file__).parent / "templates"
#: What the report calls a scene.
_SCENES = {"home": "Home", "similar": "Similar to", "search": "Search for"}


def write_session_report(simulated: Simulated, out: Path, command: str) -> None:
    """Write the report of a simulation to the HTML file ``out``, atomically.

    Args:
        simulated: the comparison; its first two policies meet in the session that is shown.
        out: file to write.
        command: the command line that makes the report again.

    Raises:
        UserError: the file cannot be written.
    """
    field, evaluation = simulated.field, simulated.evaluation
    sides = simulated.contestants[:2]
    seed = telling_session([evaluation.played[one.name] for one in sides], evaluation.seeds)
    traces = [trace(field.shop, one, field.book_of(one.name), seed) for one in sides]
    page = render(
        simulated.as_json(),
        traces,
        seed,
        _figures(simulated.statistics),
        field.shop.visitors.catalogue.currency,
        command,
    )
    try:
        write_text(out, page)
    except OSError as error:
        raise UserError(f"--report {out}: cannot be written: {error.strerror}") from None


def render(
    result: dict[str, Any], traces: Sequence[Trace], seed: int,
    statistics: Sequence[tuple[str, str, str]], currency: str, command: str,
) -> str:  # fmt: skip
    """Return the page as HTML; whatever comes from the catalogue or the command is escaped.

    Args:
        result: as `Simulated.as_json` returns it.
        traces: the same session under one policy or two.
        seed: the session's seed.
        statistics: name, value and published range of each figure of the shop.
        currency: of the prices.
        command: the command line that makes the report again.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "number": number, "percent": percent, "policy": policy_name, "covers": covers,
        "amount": amount,
    }  # fmt: skip
    simulation = Simulation.model_validate(result)
    pairs = return_pairs(simulation)
    page = environment.get_template("session_report.html.j2").render(
        style=_style(environment),
        result=result,
        summary=_summary(simulation),
        metric_names=METRICS,
        ranking=ranking(simulation),
        scales=metric_scales(simulation),
        pair_chart=pair_chart(pairs),
        pair_table=pair_table(simulation),
        statistics=statistics,
        traces=traces,
        seed=seed,
        turns=list(zip_longest(*(one.turns for one in traces))),
        charts=_charts(traces),
        elsewhere=_elsewhere,
        scenes=_SCENES,
        score_names=SCORES,
        pieces=pieces,
        currency=currency,
        command=command,
    )
    return unturned(page)


def _style(environment: Environment) -> Markup:
    """Return the style sheet of the run report: one look for both pages."""
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, "report.html.j2")
    found = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert found is not None
    return Markup(found[1])


def _summary(simulation: Simulation) -> str:
    """Say in a sentence who earns most, and by how much more than the first policy."""
    pair = headline_pair(simulation)
    returns = [one for one in simulation.paired if one.metric == "return"]
    if pair is None and returns:
        pair = max(returns, key=lambda one: one.diff)
    if pair is None:
        return "One policy was simulated; name two or more to compare them."
    decimals = decimals_for([pair])
    interval = f"95\u00a0% interval {span(pair, decimals)}"
    better, worse = policy_name(pair.a), policy_name(pair.b)
    if covers(pair.low, pair.high):
        return (
            f"{better} is not shown to differ from {worse}: {number(pair.diff, decimals, True)} "
            f"in return per session, and the {interval} covers 0."
        )
    word = "more" if pair.diff > 0 else "less"
    return (
        f"{better} earns {number(abs(pair.diff), decimals)} {word} per session than {worse} "
        f"({interval})."
    )


def _figures(found: ShopStatistics) -> list[tuple[str, str, str]]:
    """Return figures of the shop: name, value, and the range that shops publish."""
    assert found.traffic is not None
    met, published = found.traffic, {one.figure: one for one in PUBLISHED}

    def row(name: str, text: str, figure: str = "") -> tuple[str, str, str]:
        one = published.get(figure)
        if one is None:
            return name, text, ""
        places = 1 if figure == "rating_mean" else None
        ends = [number(e, places) if places else percent(e) for e in (one.low, one.high)]
        return name, text, f"{ends[0]} to {ends[1]}: {one.source}"

    return [
        row("Clicks per impression", percent(met.ctr, 2), "ctr"),
        row("Purchases per click", percent(met.purchases_per_click), "purchases_per_click"),
        row("Sessions with a purchase", percent(met.conversion), "conversion"),
        row("Pages per session", number(met.pages_per_session, 2)),
        row("Sessions of one page", percent(met.single_page)),
        row(
            # Of clicks: of the few purchases of some sessions nearly all items have none.
            "Clicks of the fifth of items clicked most",
            percent(met.popularity["clicks"].top20),
            "popularity.clicks.top20",
        ),
        row("Gini of clicks over items", number(met.popularity["clicks"].gini, 2)),
        row("Mean rating", number(found.rating_mean, 2), "rating_mean"),
    ]


def _charts(traces: Sequence[Trace]) -> list[tuple[str, Markup]]:
    """Draw trust, satiation and the chance of leaving over the pages, a line a policy."""
    wanted = {
        "Trust after the page": lambda turn: turn.trust,
        "Satiation with what was shown": lambda turn: turn.satiation,
        "Chance of leaving": lambda turn: turn.hazard,
    }
    return [
        (
            title,
            line_chart(
                [
                    Series(
                        policy_name(one.name),
                        [float(page) for page in range(1, len(one.turns) + 1)],
                        [value(turn) for turn in one.turns],
                    )
                    for one in traces
                ],
                title=title,
                x_label="page",
            ),
        )
        for title, value in wanted.items()
    ]


def _elsewhere(turns: Sequence[Turn | None], place: int) -> set[int]:
    """Return the items that the other policies show on the same page."""
    others = [turn for index, turn in enumerate(turns) if index != place and turn is not None]
    return {card.item for turn in others for card in turn.cards}
