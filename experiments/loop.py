"""The loop closed: serve, visit, export, evaluate, retrain, check, reload, visit again.

It starts from a deliberately plain bundle, whose ranker is the equal-weight mean of the similarity
scores, so that there is something to gain. The service samples its shelves by Plackett-Luce, which
is what makes its log worth learning from.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.counter_rng import new_keys
from envs.errors import UserError
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES
from envs.world import World
from experiments.again import open_run
from experiments.config import Config
from experiments.console import Console
from experiments.loop_shoppers import Connections, PagesMet, Visits, visit
from experiments.ope.impressions import ShopNames
from experiments.ope.shop_log import expected_reward
from experiments.retrain import RetrainOptions, retrain
from experiments.served import served
from experiments.simulate import TRAINING_SEEDS, Contestant, evaluate, interval
from experiments.steps_export import bundle_settings
from experiments.steps_ranking import Opened, open_books
from policies.baselines import ranker_policy, scorer_logits
from policies.bundle_check import check_whole
from policies.bundle_export import export_bundle
from policies.constraints_page import world_rules
from policies.logging_policies import PlackettLuce
from policies.ranker.config import ScorerConfig
from policies.ranker.scorer import SlateScorer, load_scorer
from policies.service.export import ExportOptions, export_log

#: Sessions whose pages standardise the plain ranker's inputs, and on whose pages the true value of
#: a policy is asked; slates that are drawn of it on each.
_STANDARD, _TRUE, _DRAWS = 500, 2_000, 16


@dataclass(frozen=True)
class LoopOptions:
    """How long to go around."""

    #: Shoppers before the retraining, and after the reload.
    sessions: int = 8_000
    later: int = 2_000
    #: Sessions of the paired simulation.
    simulated: int = 4_000
    #: Connections to the service.
    connections: int = 8
    #: Logit between a mean similarity of 0 and 1 of the plain ranker: higher explores less.
    weight: float = 6.0
    retrain: RetrainOptions = field(default_factory=RetrainOptions)
    seed: int = 0


def run_loop(run: Path, out: Path, options: LoopOptions, console: Console) -> dict[str, Any]:
    """Go around once, in the shop of a run that has written its reasons.

    Args:
        run: folder of the run.
        out: a new folder: ``before`` and ``after`` (bundles), ``log``, ``store.db``,
            ``service.log``.
        options: how long.
        console: told of progress.

    Returns:
        ``http`` (answers by status), ``visits`` before and after, ``log``, ``retrain``, ``truth``
        (the value that the estimates should find), ``simulated`` (paired), ``check``, ``reload``.

    Raises:
        UserError: the run is not finished so far, or the service failed.
    """
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"loop: {out} exists and is not empty; give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    context = open_run(run, ("catalogue", "similarity", "reasons"), console)
    opened = open_books(context)
    opened = opened.under(context.config.constraints)
    names = ShopNames.of(opened.shop.visitors)
    before, after = out / "before", out / "after"
    with console.stage("export"):
        scorer = plain_scorer(opened.world, options)
        _export(opened, context.config, scorer, before)
    first = TRAINING_SEEDS + options.seed
    seeds = range(first, first + options.sessions)
    next_seeds = range(seeds.stop, seeds.stop + options.later)
    met, rule = PagesMet(_TRUE), f"plackett_luce:{_rule(options).temperature:g}"
    with served(before, out / "store.db", out / "service.log", ["--explore", rule]) as (url, _):
        connections = Connections(url, options.connections)

        def shoppers(seeds: range, name: str, met: PagesMet | None = None) -> Visits:
            with console.stage(name):
                progress = console.progress(name)
                return visit(connections, opened.world, names, seeds, met=met, progress=progress)

        old = shoppers(seeds, "visits", met)
        log = export_log(f"sqlite:///{out / 'store.db'}", out / "log", _worth(opened.world))
        learned = retrain(before, out / "log", after, options.retrain, console)
        with console.stage("check"):
            checked = check_whole(after)
        reload, new = _reload_under(
            connections, after, lambda: shoppers(next_seeds, "visits after")
        )
        answers = dict(connections.answers)
        connections.close()
    with console.stage("truth"):
        rankers = {"before": scorer, "after": load_scorer(after / "ranker")}
        truth = {name: true_value(opened.world, met, one, options) for name, one in rankers.items()}
    with console.stage("simulate"):
        paired = evaluate(
            [Contestant(name, ranker_policy(one), opened.world) for name, one in rankers.items()],
            range(options.seed, options.seed + options.simulated),
            progress=console.progress("simulate"),
        )
    return {
        "options": _told(options),
        "http": {
            "answers": answers,
            "seconds": old.seconds + new.seconds,
            "requests_per_second": sum(answers.values()) / (old.seconds + new.seconds),
        },
        "visits": {"before": _figures(old), "after": _figures(new)},
        "log": log,
        "retrain": learned,
        "truth": truth,
        "simulated": {"policies": paired.figures(), "paired": paired.paired()},
        "check": asdict(checked),
        "reload": reload,
    }


def plain_scorer(world: World, options: LoopOptions) -> SlateScorer:
    """Return an untrained ranker whose logits are the equal-weight mean of the six scores."""
    config = ScorerConfig(baseline_features=SCORES, baseline_weight=options.weight)
    generator = torch.Generator().manual_seed(options.seed)
    scorer = SlateScorer(config, ITEM_FEATURES, CONTEXT_FEATURES, generator)
    seen, _ = ShopVectorEnv(world, _STANDARD).reset(seed=TRAINING_SEEDS // 2)
    scorer.fit_standardiser(
        *(torch.from_numpy(seen[name]) for name in ("context", "items", "mask"))
    )
    return scorer.eval()


def true_value(
    world: World, met: PagesMet, scorer: SlateScorer, options: LoopOptions
) -> dict[str, float]:
    """Return the mean expected reward of a ranker's sampled slates on pages as they stood.

    It comes from the shop's own equations, without coin flips: what estimates from a log of these
    pages should find.
    """
    rule, rng = _rule(options), np.random.default_rng(options.seed)
    model, slots = ShopVectorEnv(world, 1).click_model, world.config.slots
    worth = []
    for seen, state in zip(met.observations, met.states):
        rules = world_rules(world, state, seen["mask"])
        mask = seen["mask"] if rules is None else rules.mask
        logits = scorer_logits(scorer, seen | {"mask": mask})
        drawn = [
            rule.sample(logits, mask, slots, new_keys(rng, len(logits)), rules)
            for _ in range(_DRAWS)
        ]
        worth.append(np.mean([expected_reward(world, model, state, d) for d in drawn], axis=0))
    every = np.concatenate(worth)
    return {"value": float(every.mean()), "pages": len(every)}


def _rule(options: LoopOptions) -> PlackettLuce:
    """How shelves are sampled: as the rankers are valued."""
    return PlackettLuce(options.retrain.temperature or 1.0)


def _export(opened: Opened, config: Config, scorer: SlateScorer, out: Path) -> None:
    export_bundle(
        out, shop=opened.shop, book=opened.books["ppo"], before=opened.books["sft"], scorer=scorer,
        reasoner=None, settings=bundle_settings(config), metrics={}, name=f"{config.name}-plain",
    )  # fmt: skip


def _worth(world: World) -> ExportOptions:
    return ExportOptions(w_click=world.config.w_click, w_buy=world.config.w_buy)


def _reload_under(
    connections: Connections, folder: Path, shoppers: Callable[[], Visits]
) -> tuple[dict[str, Any], Visits]:
    """Change the bundle while shoppers come in; return what became of it, and of them."""
    answered = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        at = connections.answers.total()
        change = pool.submit(connections.post, "/v1/reload", {"path": str(folder.resolve())})
        told: dict[str, float] = {}

        def note(_: Any) -> None:
            told["seconds"] = time.monotonic() - began
            told["requests_meanwhile"] = connections.answers.total() - at - 1
            answered.set()

        change.add_done_callback(note)
        visits = shoppers()
        answer = change.result()
        answered.wait()
    return {**answer, **told}, visits


def _figures(visits: Visits) -> dict[str, Any]:
    return {
        "shoppers": len(visits.reward),
        "pages": int(visits.pages.sum()),
        "return": interval(visits.reward),
        "earned": interval(visits.earned),
    }


def _told(options: LoopOptions) -> dict[str, Any]:
    told = asdict(options)
    told["retrain"]["fit"] = options.retrain.fit.model_dump()
    return told
