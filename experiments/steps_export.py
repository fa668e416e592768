"""The stage that exports: the tuned policies as a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.config import Config
from experiments.stages import StageContext
from experiments.steps_ranking import open_books
from policies.bundle_export import export_bundle
from policies.bundle_files import BundleSettings, check_bundle
from policies.bundle_session import SessionSettings
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
        before=opened.books["sft"],
        scorer=load_scorer(context.inputs["rank"] / "scorer"),
        reasoner=context.inputs["ppo"],
        settings=BundleSettings(
            slots=config.shop.slots,
            pool=config.export.pool,
            words_free=config.shop.words_free,
            constraints=config.constraints,
            session=SessionSettings(
                satiation_gain=config.shop.satiation_gain,
                satiation_decay=config.shop.satiation_decay,
                max_pages=config.shop.max_pages,
            ),
            w_click=config.shop.w_click,
            w_buy=config.shop.w_buy,
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
