"""One self-contained HTML page from a run folder: what was run, found, and not found."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from envs.files import write_text
from experiments.bidi import unturned
from experiments.report_curves import curves, held_out_losses
from experiments.report_data import Run, read_report
from experiments.report_order import (
    factor_rows,
    link_rows,
    naming_rows,
    order_sentence,
    points,
    share_of,
    why_bars,
)
from experiments.report_parts import Card, Sample
from experiments.report_results import (
    metric_scales,
    ope_chart,
    pair_chart,
    pair_table,
    ranking,
    two_by_two,
)
from experiments.report_rounds import (
    VARIANTS,
    horizon_charts,
    ppo_rows,
    round_chart,
    round_sentences,
)
from experiments.report_words import (
    ABOUT,
    ANCHORS,
    METRICS,
    POLICIES,
    amount,
    covers,
    decimals_for,
    number,
    percent,
    policy_name,
    return_pairs,
    risks,
    scalars,
    summary,
    way_sentence,
)
from experiments.report_writing import (
    FLOORS,
    held_out_rows,
    marked_claims,
    task_floors,
    verdict,
    writing_floors,
    writing_rows,
    writing_sentence,
)
from rewards.words import tokens

#: Enough to judge by; the rest stays in the run's own files.
SHELVES_SHOWN, SAMPLES_SHOWN, READ = 6, 12, 20


def write_report(run: Path, out: Path) -> dict[str, int]:
    """Write the report of the run folder ``run`` to the HTML file ``out``, atomically.

    Returns how much it shows: ``policies``, ``estimates``, ``samples``, ``shelves``, ``charts``,
    ``warnings``, ``missing`` (parts that were not run yet) and ``bytes``.

    Raises:
        UserError: there is no run in the folder, or its ``metrics.json`` is broken.
    """
    view = read_report(run)
    page = render(view)
    write_text(out, page)
    parts = (view.catalogue, view.sft, view.ppo, view.reasons, view.rank, view.simulate, view.ope)
    return {
        "policies": len(view.simulate.policies) if view.simulate else 0,
        "estimates": len(view.ope.estimates) if view.ope else 0,
        "samples": min(len(view.samples), SAMPLES_SHOWN),
        "shelves": min(len(view.shelves), SHELVES_SHOWN),
        "charts": page.count('<svg class="chart"'),
        "warnings": len(view.warnings) + len(view.problems),
        "missing": sum(part is None for part in (*parts, view.export)),
        "bytes": len(page.encode()),
    }


def render(run: Run) -> str:
    """Return the page as HTML; whatever comes from the run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "signed": lambda value, decimals=None: number(value, decimals, signed=True),
        "percent": percent,
        "policy": policy_name,
        "covers": covers,
        "amount": amount,
    }
    simulate = run.simulate
    pairs = return_pairs(simulate) if simulate else []
    main, more = curves(run)
    page = environment.get_template("report.html.j2").render(
        run=run,
        metric_names=METRICS,
        known_policies=POLICIES,
        decimals_for=decimals_for,
        summary=summary(run, writing_sentence(run.writing)),
        ranking=ranking(simulate) if simulate else [],
        scales=metric_scales(simulate) if simulate else {},
        pairs=pairs,
        pair_table=pair_table(simulate) if simulate else {},
        pair_chart=pair_chart(pairs),
        two_by_two=two_by_two(simulate) if simulate else None,
        about=ABOUT,
        anchors=ANCHORS,
        way=way_sentence(simulate) if simulate else "",
        ppo_rows=ppo_rows(run),
        round_chart=round_chart(run.rounds) if run.rounds else None,
        round_sentences=round_sentences(run.rounds) if run.rounds else [],
        horizon_charts=horizon_charts(run.horizon) if run.horizon else [],
        variants=VARIANTS,
        why_bars=why_bars,
        order_sentence=order_sentence(run.order) if run.order else "",
        naming_rows=naming_rows(run.order) if run.order else [],
        link_rows=link_rows(run.order) if run.order else [],
        factor_rows=factor_rows(run.order) if run.order else [],
        share_of=share_of,
        points=points,
        writing_rows=writing_rows(run.writing) if run.writing else [],
        writing_floors=writing_floors(run.writing) if run.writing else [],
        held_out_losses=held_out_losses(run),
        held_out_rows=held_out_rows(run.held_out_shop) if run.held_out_shop else None,
        written=run.written[:READ],
        read=READ,
        verdict=verdict,
        marked_claims=marked_claims,
        task_floors=task_floors,
        floor_names=FLOORS,
        curves=main,
        more_curves=more,
        samples=run.samples[:SAMPLES_SHOWN],
        reward_decimals=_reward_decimals(run.samples[:SAMPLES_SHOWN]),
        shelves=run.shelves[:SHELVES_SHOWN],
        scalars=scalars,
        training_figures=_training_figures,
        pieces=pieces,
        moves=moves,
        ope_chart=ope_chart(run.ope) if run.ope else None,
        risks=risks(run, pairs),
        settings=yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
        if run.config
        else None,
    )
    return unturned(page)


def _training_figures(sft: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the figures of the supervised training without those of its texts."""
    return {name: value for name, value in (sft or {}).items() if name not in ("writing", "tasks")}


def _reward_decimals(samples: Sequence[Sample]) -> int:
    """Return the decimals that show the largest reward of the samples with two digits."""
    met = [abs(r) for one in samples for r in (one.sft_reward, one.ppo_reward) if r]
    return min(6, max(2, 1 - math.floor(math.log10(max(met))))) if met else 2


def pieces(text: str, phrases: Sequence[str]) -> list[tuple[str, bool]]:
    """Cut a text into pieces, each with whether it is one of the phrases (the longest first).

    A phrase is met word by word, whatever its case and punctuation, as `rewards.claims` meets it.
    """
    worded = sorted({tuple(tokens(phrase)) for phrase in phrases} - {()}, key=lambda w: -len(w))
    if not worded:
        return [(text, False)]
    # Borders are those of Latin words: Chinese runs on without any.
    bodies = "|".join(r"[\W_]*".join(map(re.escape, words)) for words in worded)
    pattern = re.compile(rf"((?<![A-Za-z0-9])(?:{bodies})(?![A-Za-z0-9]))", re.IGNORECASE)
    cut = pattern.split(text)
    return [(piece, index % 2 == 1) for index, piece in enumerate(cut) if piece]


def moves(before: Sequence[Card], after: Sequence[Card]) -> list[tuple[str, int]]:
    """Return for each card of ``after``: ``new``, ``up``, ``down`` or ``same``, and how far."""
    was = {card.item_id: place for place, card in enumerate(before)}
    found = []
    for place, card in enumerate(after):
        by = was.get(card.item_id, place) - place
        kind = "up" if by > 0 else "down" if by < 0 else "same"
        found.append((kind if card.item_id in was else "new", abs(by)))
    return found
