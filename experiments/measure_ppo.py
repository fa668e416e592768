"""What reinforcement did to the reasons: fresh texts of both writers, paired by held-out prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.assemble import Shop
from envs.files import write_json
from experiments.config import Config
from experiments.held_out_measure import measure_held_out
from experiments.measure_intervals import share_of_way
from experiments.measure_panel import Panel, Said, Writer, ask, sampler
from experiments.measure_samples import claim_marks, shown_rows
from experiments.measure_writing import Judge, as_figures, paired
from experiments.simulate import interval
from experiments.stages import StageContext
from policies.reasoner.generate import load_reasoner
from policies.reasoner.measure import sequence_log_probs
from rewards.claims import claim_precision
from rewards.mix import RewardMix, Scored
from rewards.words import tokens
from sft.metrics.variety import distinct, distinct_kept
from sft.tasks import item_briefs, segment_likes

F64 = NDArray[np.float64]

#: Samples of the SFT writer of which the best is the ceiling.
BEST_OF = 16


def measure_ppo(
    context: StageContext, shop: Shop, mix: RewardMix, panel: Panel, rng: np.random.Generator
) -> dict[str, Any]:
    """Compare fresh samples of SFT and PPO on the panel and write ``samples.json``.

    Args:
        context: the PPO stage; the writers are in its input ``sft`` and in its output.
        shop: the catalogue and its segments.
        mix: what a text is worth.
        panel: held-out prompts.
        rng: pairs rows, writes the rule-based texts and draws bootstrap samples.

    Returns:
        ``FIGURE_before`` and ``FIGURE_after``, the paired ``gain``, ``kl`` (nats a text);
        ``writing``: figures of `Judge` of ``sft``, ``ppo`` and ``fallback``, and ``paired``, the
        differences ``ppo - sft``; ``distinct2_kept``, the ratio at equal amounts of text;
        ``best_of``: the mean ``reward`` of the best of ``n`` SFT samples of a prompt, and the
        ``share`` of the way to it that PPO went.
    """
    config: Config = context.config
    judge = Judge(shop.visitors, mix.checker, panel, rng)
    writers = {"sft": load_reasoner(context.inputs["sft"]), "ppo": load_reasoner(context.out)}
    samplers = {
        name: sampler(*writer, config.ppo, panel.samples) for name, writer in writers.items()
    }
    seed, copies = context.seed + 1, max(BEST_OF, panel.samples)
    context.say(f"writing {copies * panel.count:,} reasons with sft, for the best of {BEST_OF}")
    many = _many(sampler(*writers["sft"], config.ppo, copies), panel, copies, seed)
    context.say(f"writing {3 * len(panel.prompts):,} more for held-out items with sft and ppo")
    said = {
        # The first samples of a prompt are the same however many are asked for.
        "sft": Said(
            [text for texts in many for text in texts[: panel.samples]],
            samplers["sft"](panel.other_prompts, seed),
        ),
        "ppo": ask(samplers["ppo"], panel, seed),
        "fallback": judge.rules(rng),
    }
    measured = {name: judge.measure(texts) for name, texts in said.items()}
    scored = {
        name: mix.score(panel.items, panel.segments, each.texts) for name, each in said.items()
    }
    worth = {name: panel.per_prompt(each.uplift) for name, each in scored.items()}
    log_ratio = np.subtract(
        *(
            sequence_log_probs(
                *writers[name],
                panel.prompts,
                said["ppo"].texts,
                temperature=config.ppo.temperature,
                copies=panel.samples,
            )
            for name in ("ppo", "sft")
        )
    )
    best = best_rewards([row[:BEST_OF] for row in many], mix, panel).max(axis=1)
    share = share_of_way(worth["sft"], worth["ppo"], best, panel.prompt_items, rng)
    texts = {name: each.texts for name, each in said.items()}
    write_json(context.out / "samples.json", _samples(shop, panel, texts, scored))
    figures: dict[str, Any] = {
        "temperature": config.ppo.temperature,
        "unit": "expected reward per impression, in median margins of the catalogue",
        "prompts": panel.count,
        "samples": panel.samples,
        "gain": interval(worth["ppo"] - worth["sft"]),
        "reward_fallback": float(worth["fallback"].mean()),
        "kl": float(log_ratio.mean()),
        "best_of": {
            "n": BEST_OF,
            "reward": interval(best),
            "share": None if share is None else share.as_dict(),
        },
    }
    for when, name in (("before", "sft"), ("after", "ppo")):
        quality = _quality(scored[name], texts[name])
        figures |= {f"{key}_{when}": value for key, value in quality.items()}
    words = {name: [tokens(text) for text in texts[name]] for name in ("sft", "ppo")}
    figures["distinct2_kept"] = distinct_kept(words["sft"], words["ppo"], 2)
    changes = paired(measured["ppo"], measured["sft"])
    figures["writing"] = {name: each.as_dict() for name, each in measured.items()}
    figures["writing"]["paired"] = as_figures(changes)
    figures["held_out_shop"] = measure_held_out(
        context, shop, config.held_out, mix, panel, (texts["sft"], texts["ppo"]),
        (samplers["sft"], samplers["ppo"]),
    )  # fmt: skip
    _warn_about(context, figures)
    return figures


def _many(write: Writer, panel: Panel, copies: int, seed: int) -> list[list[str]]:
    """Return what a writer says when asked ``copies`` times about each prompt of the panel."""
    prompts = panel.prompts[:: panel.samples]
    texts = write([prompt for prompt in prompts for _ in range(copies)], seed)
    return [texts[start : start + copies] for start in range(0, len(texts), copies)]


def best_rewards(many: Sequence[Sequence[str]], mix: RewardMix, panel: Panel) -> F64:
    """Return the uplift of as many texts of each prompt, (prompts, n).

    Their maximum is what choosing by the reward itself would come to: no training is needed for
    it, but every reason would have to be written that many times over.

    Args:
        many: n texts of each prompt.
        mix: what a text is worth.
        panel: the prompts.
    """
    first, n = slice(None, None, panel.samples), len(many[0])
    items, segments = (np.repeat(each[first], n) for each in (panel.items, panel.segments))
    uplift = mix.score(items, segments, [text for texts in many for text in texts]).uplift
    return uplift.reshape(-1, n).astype(np.float64)


def _samples(
    shop: Shop, panel: Panel, texts: Mapping[str, list[str]], scored: Mapping[str, Scored]
) -> list[dict[str, Any]]:
    briefs = item_briefs(shop.visitors.catalogue)
    likes = segment_likes(shop.visitors.catalogue, shop.visitors.profiles)
    return [
        {
            "title": briefs[panel.items[i]].title,
            "likes": likes[panel.segments[i]],
            "facts": [list(fact) for fact in briefs[panel.items[i]].facts],
            "sft": texts["sft"][i].strip(),
            "ppo": texts["ppo"][i].strip(),
            "fallback": texts["fallback"][i],
            "sft_reward": float(scored["sft"].uplift[i]),
            "ppo_reward": float(scored["ppo"].uplift[i]),
            "sft_veto": scored["sft"].vetoes[i],
            "ppo_veto": scored["ppo"].vetoes[i],
            "sft_claims": claim_marks(texts["sft"][i], scored["sft"].checked[i].claims),
            "ppo_claims": claim_marks(texts["ppo"][i], scored["ppo"].checked[i].claims),
        }
        for i in shown_rows(panel)
    ]


def _quality(scored: Scored, texts: Sequence[str]) -> dict[str, float]:
    return {
        "reward": float(scored.uplift.mean()),
        "claim_precision": claim_precision(scored.checked),
        "distinct2": distinct([tokens(text) for text in texts], 2),
        "unique_share": len(set(texts)) / len(texts),
        "veto_rate": float(np.mean([why is not None for why in scored.vetoes])),
        "words": float(np.mean([found.words for found in scored.checked])),
        "claims": float(np.mean([len(found.claims) for found in scored.checked])),
    }


def _warn_about(context: StageContext, figures: dict[str, Any]) -> None:
    """Say in plain words what a reader must not miss."""
    if figures["gain"]["low"] <= 0:
        context.warn("the interval of the PPO gain covers 0: PPO is not shown to help")
    if figures["claim_precision_after"] < 0.98:
        context.warn(
            f"claim precision after PPO is {figures['claim_precision_after']:.3f}, below 0.98; "
            "vetoed reasons are replaced by the fallback"
        )
    if figures["distinct2_after"] < 0.8 * figures["distinct2_before"]:
        context.warn(
            f"variety fell: distinct-2 went from {figures['distinct2_before']:.3f} to "
            f"{figures['distinct2_after']:.3f}"
        )
    for name, what in (("shopper_swap", "the swap test"), ("profile_match", "the profile match")):
        change = figures["writing"]["paired"].get(name, {})
        if change.get("high", 0) < 0:
            context.warn(
                f"{what} is worse after PPO: by {change['value']:+.3f} "
                f"({change['low']:+.3f} to {change['high']:+.3f})"
            )
