"""The pipeline: which stages there are, what each reads, and what each needs."""

from __future__ import annotations

from typing import Any

from experiments.config import Config
from experiments.measure_search_stage import run_search
from experiments.report import write_report
from experiments.rounds import with_rounds
from experiments.stages import Stage, StageContext
from experiments.steps_export import run_export
from experiments.steps_ranking import run_ope, run_rank, run_simulate
from experiments.steps_reasons import run_ppo, run_reasons, run_sft
from experiments.steps_shop import (
    catalogue_files,
    corpus_files,
    run_catalogue,
    run_similarity,
    similarity_files,
)


def run_report(context: StageContext) -> dict[str, Any]:
    """Write the HTML page of everything that the run holds."""
    run = context.inputs["simulate"].parent
    return write_report(run, context.out / "report.html")


_SHOP = ("catalogue", "similarity")
_BOOKS = (*_SHOP, "reasons")

STAGES = (
    Stage("catalogue", run_catalogue, sections=("catalogue", "shoppers"), files=catalogue_files),
    Stage(
        "similarity",
        run_similarity,
        sections=("similarity",),
        needs=("catalogue",),
        files=similarity_files,
    ),
    Stage(
        "sft",
        run_sft,
        # Of `ppo` only how texts are sampled, which is how they are measured.
        sections=("corpus", "sft", "measure", "ppo.temperature", "ppo.max_new_tokens"),
        needs=("catalogue",),
        files=corpus_files,
        together=True,
    ),
    Stage(
        "ppo",
        run_ppo,
        sections=("corpus", "shop", "reward", "ppo", "measure", "held_out"),
        needs=(*_SHOP, "sft"),
        files=corpus_files,
        together=True,
    ),
    Stage("reasons", run_reasons, sections=("ppo", "book"), needs=(*_SHOP, "sft", "ppo")),
    Stage("rank", run_rank, sections=("shop", "rank"), needs=_BOOKS),
    Stage(
        "simulate",
        run_simulate,
        sections=("shop", "simulate", "baselines", "ope.logging_weight", "constraints"),
        needs=(*_BOOKS, "rank"),
    ),
    Stage("search", run_search, sections=("shop",), needs=(*_BOOKS, "rank")),
    Stage("ope", run_ope, sections=("shop", "ope", "constraints"), needs=(*_BOOKS, "rank")),
    Stage(
        "export",
        run_export,
        # Of the last three only what a smaller reasoner is compared with the full one by.
        sections=(
            "name",
            "shop",
            "export",
            "constraints",
            "corpus",
            "reward",
            "ppo.max_new_tokens",
        ),
        needs=(*_BOOKS, "ppo", "rank", "simulate", "ope"),
        files=corpus_files,
    ),
    Stage(
        "report",
        run_report,
        sections=("name",),
        needs=(*_BOOKS, "sft", "ppo", "rank", "simulate", "ope", "export"),
    ),
)


def stages_for(config: Config) -> tuple[Stage, ...]:
    """Return the stages of a run: of one round, or of as many as the config asks for."""
    return with_rounds(STAGES, config.rounds)
