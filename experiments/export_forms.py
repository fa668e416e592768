"""Smaller forms of a run's policies for its bundle, and what each costs beside the full one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.errors import UserError
from experiments.config import Config, MeasureConfig
from experiments.measure_panel import Panel, draw_panel
from experiments.simulate import TRAINING_SEEDS, Contestant, Turn, evaluate, interval, play_part
from experiments.stages import StageContext
from experiments.steps_ranking import Opened
from experiments.steps_reasons import make_reward
from experiments.steps_sft import make_corpus
from policies.baselines import ranker_policy
from policies.ranker.scorer import SlateScorer
from policies.ranker.smaller import Pages, distil_linear, prune, size
from policies.reasoner.generate import generate, load_reasoner
from policies.reasoner.int8 import save_int8
from policies.reasoner.measure import sequence_log_probs
from rewards.claims import claim_precision
from rewards.mix import RewardMix
from sft.base_model import encode_completions
from sft.quiet import quiet_libraries
from sft.trainer_tools import save_reasoner
from sft.virtual_tokens import WithVirtualTokens

#: Sessions whose pages a smaller ranker learns from; none of them is one that it is judged on.
_LEARNED_FROM = 1_000


def ranker_in_form(
    context: StageContext, opened: Opened, scorer: SlateScorer
) -> tuple[SlateScorer, dict[str, Any]]:
    """Return the ranker in the form that the config asks for, and figures of what that costs.

    Figures: `weights` of both, and the paired difference of their `return` over the same sessions
    of the shop under its rules, as the bundle will show it.

    Raises:
        UserError: a ranker that cannot be pruned.
    """
    config: Config = context.config
    form = config.export.ranker
    if form == "full":
        return scorer, {}
    pages = _pages(opened, scorer, config.seed)
    small = (
        distil_linear(scorer, pages)
        if form == "linear"
        else prune(scorer, pages, config.export.keep)
    )
    context.say(f"comparing the {form} ranker with the full one")
    ruled = opened.under(config.constraints).world
    found = evaluate(
        [
            Contestant("full", ranker_policy(scorer), ruled),
            Contestant(form, ranker_policy(small), ruled),
        ],
        range(config.seed, config.seed + config.export.sessions),
        progress=context.progress,
    )
    figures = found.figures()
    lost = next(pair for pair in found.paired() if pair["metric"] == "return")
    return small, {
        "sessions": config.export.sessions,
        "weights_full": size(scorer),
        "weights": size(small),
        "return_full": figures["full"]["return"],
        "return": figures[form]["return"],
        "return_difference": {"mean": lost["diff"], "low": lost["low"], "high": lost["high"]},
    }


def _pages(opened: Opened, scorer: SlateScorer, seed: int) -> Pages:
    """Return the pages that the ranker meets in training sessions."""
    met: list[dict[str, np.ndarray]] = []

    def watch(turn: Turn) -> None:
        met.append({name: rows[turn.live] for name, rows in turn.page.observation.items()})

    first = TRAINING_SEEDS + seed
    play_part(opened.world, ranker_policy(scorer), range(first, first + _LEARNED_FROM), watch)
    return Pages(
        *(
            torch.from_numpy(np.concatenate([page[name] for page in met]))
            for name in ("context", "items", "mask")
        )
    )


def reasoner_in_form(
    context: StageContext, opened: Opened, folder: Path
) -> tuple[Path | None, dict[str, Any]]:
    """Return the folder of the reasoner in the config's form, and figures of what that costs.

    Figures, of greedy texts on held-out prompts: share of `texts_identical`, `claim_precision` and
    `reward` of both with the paired difference, `nats_per_token` that each gives the full model's
    texts, and `bytes` of both.

    Args:
        context: the export stage; its input `ppo` holds the reasoner.
        opened: the run's shop.
        folder: where a form that the run does not have is written.

    Raises:
        UserError: virtual tokens cannot be merged.
    """
    config, whole = context.config, context.inputs["ppo"]
    form = config.export.reasoner
    if form == "none":
        return None, {}
    if form == "adapter":
        return whole, {}
    model, tokenizer = load_reasoner(whole)
    if isinstance(model, WithVirtualTokens):
        raise UserError(
            f"export.reasoner is {form!r}, but the virtual tokens of this run's adapter cannot be "
            "merged into the model; choose adapter or none"
        )
    with quiet_libraries():
        if form == "merged":
            save_reasoner(model, tokenizer, folder)
        else:
            save_int8(model, tokenizer, folder / "base")
    context.say(f"comparing the {form} reasoner with the full one")
    shop = opened.shop
    corpus = make_corpus(config, shop.visitors.catalogue, shop.visitors.profiles)
    measure = MeasureConfig(prompts=config.export.prompts, samples=1)
    panel = draw_panel(
        measure, shop.visitors, corpus.held_items, np.random.default_rng([config.seed, 3])
    )
    mix = make_reward(config, shop, opened.world, config.seed)
    sizes = {"bytes_full": _bytes(whole), "bytes": _bytes(folder)}
    return folder, sizes | _compared(whole, folder, panel, mix, config.ppo.max_new_tokens)


def _compared(
    whole: Path, small: Path, panel: Panel, mix: RewardMix, max_new_tokens: int
) -> dict[str, Any]:
    models = {"full": load_reasoner(whole), "small": load_reasoner(small)}
    texts = {
        name: generate(*model, panel.prompts, max_new_tokens=max_new_tokens, greedy=True)
        for name, model in models.items()
    }
    scored = {
        name: mix.score(panel.items, panel.segments, written) for name, written in texts.items()
    }
    tokenizer = models["full"][1]
    # The end of each text is written as well.
    count = sum(map(len, encode_completions(tokenizer, texts["full"])))
    nats = {
        name: -float(sequence_log_probs(*model, panel.prompts, texts["full"]).sum()) / count
        for name, model in models.items()
    }
    same = np.mean([a == b for a, b in zip(texts["full"], texts["small"])])
    return {
        "prompts": panel.count,
        "texts_identical": float(same),
        "claim_precision_full": claim_precision(scored["full"].checked),
        "claim_precision": claim_precision(scored["small"].checked),
        "reward_full": interval(scored["full"].uplift.astype(np.float64)),
        "reward_difference": interval(
            scored["small"].uplift.astype(np.float64) - scored["full"].uplift
        ),
        "nats_per_token_full": nats["full"],
        "nats_per_token": nats["small"],
    }


def _bytes(folder: Path) -> int:
    """Size of a reasoner's files."""
    return sum(path.stat().st_size for path in folder.glob("[ba]*/*") if path.is_file())
