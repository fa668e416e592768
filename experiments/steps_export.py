"""The stage that exports: the tuned policies as a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.config import Config
from experiments.stages import StageContext
from experiments.steps_ranking import open_books
from policies.bundle import check_bundle, export_bundle
from policies.bundle_files import BundleSettings
from policies.ranker.scorer import load_scorer


def export_bundle_of(
    context: StageContext, out: Path, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the bundle of a run's PPO reasons and ranker to ``out``, and check it."""
    config: Config = context.config
    opened = open_books(context)
    summary = export_bundle(
        out,
        shop=opened.shop,
        book=opened.books["ppo"],
        scorer=load_scorer(context.inputs["rank"] / "scorer"),
        reasoner=context.inputs["ppo"],
        settings=BundleSettings(
            slots=config.shop.slots,
            pool=config.export.pool,
            words_free=config.shop.words_free,
            constraints=config.constraints,
        ),
        metrics=dict(metrics),
        name=config.name,
    )
    check_bundle(out)
    return summary


def run_export(context: StageContext) -> dict[str, Any]:
    """Export into the run folder."""
    measured = {name: context.metrics_of(name) for name in ("catalogue", "ppo", "simulate", "ope")}
    summary = export_bundle_of(context, context.out / "bundle", measured)
    return {"bundle": "export/bundle", **summary}
