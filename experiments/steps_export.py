"""The stage that exports: the tuned policies as a bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.config import Config
from experiments.config_io import config_as_dict
from experiments.export_forms import ranker_in_form, reasoner_in_form
from experiments.run_folder import digest
from experiments.stages import StageContext
from experiments.steps_ranking import open_books
from policies.bundle_export import export_bundle
from policies.bundle_files import BundleSettings, Forms, Source, check_bundle
from policies.bundle_session import SessionSettings
from policies.ranker.scorer import load_scorer


def export_bundle_of(
    context: StageContext, out: Path, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the bundle of a run's PPO reasons and ranker to ``out``, and check it."""
    config: Config = context.config
    opened = open_books(context)
    scorer, ranker = ranker_in_form(context, opened, load_scorer(context.inputs["rank"] / "scorer"))
    with TemporaryDirectory() as folder:
        reasoner, writer = reasoner_in_form(context, opened, Path(folder))
        measured = {"ranker": ranker, "reasoner": writer}
        told = _told(config)
        summary = export_bundle(
            out,
            shop=opened.shop,
            book=opened.books["ppo"],
            before=opened.books["sft"],
            scorer=scorer,
            reasoner=reasoner,
            settings=bundle_settings(config),
            metrics=dict(metrics),
            name=config.name,
            forms=Forms(ranker=config.export.ranker, reasoner=config.export.reasoner),
            measured={part: figures for part, figures in measured.items() if figures},
            source=Source(
                config_sha256=hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest(),
                data_sha256=digest(context.inputs["catalogue"]),
                seed=config.seed,
                commands=_commands(config),
            ),
            config=told,
        )
    check_bundle(out)
    return summary


def bundle_settings(config: Config) -> BundleSettings:
    """Return how a bundle of a run answers."""
    shop = config.shop
    return BundleSettings(
        slots=shop.slots,
        pool=config.export.pool,
        words_free=shop.words_free,
        constraints=config.constraints,
        session=SessionSettings(
            satiation_gain=shop.satiation_gain,
            satiation_decay=shop.satiation_decay,
            max_pages=shop.max_pages,
        ),
        w_click=shop.w_click,
        w_buy=shop.w_buy,
    )


def _commands(config: Config) -> tuple[str, ...]:
    return (
        "shelftalk run config.json --out RUN",
        f"shelftalk export RUN BUNDLE --ranker {config.export.ranker} "
        f"--reasoner {config.export.reasoner}",
    )


def _told(config: Config) -> dict[str, Any]:
    """Return the configuration without the folders of this machine: their last names stay."""

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: told(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [told(inner) for inner in value]
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    return {key: told(value) for key, value in config_as_dict(config).items()}


def run_export(context: StageContext) -> dict[str, Any]:
    """Export into the run folder."""
    stages = ("catalogue", "ppo", "simulate", "ope")
    measured = {name: context.metrics_of(name) for name in stages}
    summary = export_bundle_of(context, context.out / "bundle", measured)
    return {"bundle": "export/bundle", **summary}
