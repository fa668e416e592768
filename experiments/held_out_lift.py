"""How much of a writer's lift over another is left in the held-out shops, paired by prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.assemble import Shop
from envs.behaviour import ShopConfig
from experiments.held_out_config import HeldOutConfig
from experiments.held_out_shop import held_out_worlds, rephrased
from experiments.measure_intervals import DRAWS, share_of_way
from experiments.measure_panel import Panel, Writer
from experiments.shop_reward import shop_reward
from policies.baselines import similarity_policy
from policies.reasoner.book import prompts_for
from rewards.claims import ClaimChecker
from rewards.mix import RewardMix
from rewards.mix_config import RewardConfig
from sft.metrics.figures import clustered_mean

F64 = NDArray[np.float64]

#: What the writer ``before`` and the writer ``after`` said, each a text for every row of a panel.
Pair = tuple[Sequence[str], Sequence[str]]
#: What the texts of both earn of each prompt, (prompts,) each.
Earned = tuple[F64, F64]
#: The training shop among the held-out ones.
_HOME = "home"
#: The rewards of the held-out shops by name, which is that of their click model.
HeldOut = Mapping[str, RewardMix]


def held_out_rewards(
    shop: Shop, home: ShopConfig, config: HeldOutConfig, checker: ClaimChecker,
    reward: RewardConfig, rng: np.random.Generator,
) -> dict[str, RewardMix]:  # fmt: skip
    """Return what reasons are worth in each held-out shop, where similarity orders the items.

    Only the uplift counts there: of ``reward``, how the shop is asked.
    """
    asked = RewardConfig(clicks=reward.clicks)
    return {
        world.config.click_model: shop_reward(
            world, similarity_policy(), checker, asked, int(rng.integers(2**31))
        )
        for world in held_out_worlds(shop, home, config, rng)
    }


def in_other_words(
    shop: Shop, config: HeldOutConfig, panel: Panel, writers: tuple[Writer, Writer],
    seed: int, rng: np.random.Generator,
) -> Pair:  # fmt: skip
    """Ask both writers for the panel again, with facts told by other phrases of the catalogue."""
    catalogue = rephrased(shop.visitors.catalogue, config.other_phrases, rng)
    prompts = prompts_for(catalogue, shop.visitors.profiles, panel.items, panel.segments)
    before, after = (write(prompts, seed) for write in writers)
    return before, after


def lift(
    home: RewardMix, held_out: HeldOut, panel: Panel, texts: Pair, other_words: Pair,
    rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    """Compare two writers at home and in each held-out shop.

    Args:
        home: the reward of the training shop.
        held_out: the rewards of the held-out shops, one at least.
        panel: held-out prompts.
        texts: what both wrote, asked in the words of training.
        other_words: what both wrote, asked in other words (`in_other_words`).
        rng: resamples the items of the panel.

    Returns:
        ``home`` and ``held_out``: the gain in the training shop, and the mean gain in the held-out
        shops; ``kept``: the share of the former that the latter is; ``lift_kept``: the same of
        the lift (`lift_kept`), which leaves out how much any text counts in a shop; ``shops``:
        ``gain``, ``kept`` and ``lift_kept`` in each; ``other_words``: ``home``, ``held_out`` and
        ``kept`` of the texts that were asked for in other words, so that what the words cost can
        be told from what the shop costs. Each is ``{value, low, high}`` with a 95 % interval that
        takes the prompts of an item as one cluster; gains are in median margins per impression,
        and a share is None where there is no gain at home.
    """
    items = panel.prompt_items
    earned = {name: _both(mix, panel, texts) for name, mix in {_HOME: home, **held_out}.items()}
    here = earned.pop(_HOME)
    at_home, elsewhere = _gain(here), {name: _gain(both) for name, both in earned.items()}
    away = np.mean(list(elsewhere.values()), axis=0)
    other_home, others = gains(home, held_out, panel, other_words)
    other_away = np.mean(list(others.values()), axis=0)
    return {
        "home": clustered_mean(at_home, items).as_dict(),
        "held_out": clustered_mean(away, items).as_dict(),
        "kept": share_kept(at_home, away, items, rng),
        "lift_kept": lift_kept(here, list(earned.values()), items, rng),
        "shops": {
            name: {
                "gain": clustered_mean(gain, items).as_dict(),
                "kept": share_kept(at_home, gain, items, rng),
                "lift_kept": lift_kept(here, [earned[name]], items, rng),
            }
            for name, gain in elsewhere.items()
        },
        "other_words": {
            "home": clustered_mean(other_home, items).as_dict(),
            "held_out": clustered_mean(other_away, items).as_dict(),
            "kept": share_kept(at_home, other_away, items, rng),
        },
    }


def gains(
    home: RewardMix, held_out: HeldOut, panel: Panel, texts: Pair
) -> tuple[F64, dict[str, F64]]:
    """Uplift of the second writer's texts less the first one's, (prompts,): at home, elsewhere."""
    return (
        _gain(_both(home, panel, texts)),
        {name: _gain(_both(mix, panel, texts)) for name, mix in held_out.items()},
    )


def _both(mix: RewardMix, panel: Panel, texts: Pair) -> Earned:
    before, after = (worth(mix, panel, said) for said in texts)
    return before, after


def _gain(earned: Earned) -> F64:
    return earned[1] - earned[0]


def lift_kept(
    home: Earned, held_out: Sequence[Earned], items: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, float] | None:
    """Lift in the held-out shops over the lift at home, ``{value, low, high}``.

    A shop's lift is sum(after - before) / sum(before), the relative gain that click-through rates
    are reported by; several shops' lifts are averaged. Where every text counts half as much, as in
    a shop whose readers see fewer places, the gain is half of that at home and the lift is the
    same. The interval is a percentile bootstrap of whole items; there is none where in one of its
    samples nothing is earned before or nothing is gained at home.

    Args:
        home: what both writers' texts earn of each prompt, (n,) each.
        held_out: the same in each held-out shop.
        items: item of each prompt, (n,).
        rng: resamples items.
    """
    pairs = [home, *held_out]
    columns = [column for before, after in pairs for column in (after - before, before)]
    _, member = np.unique(items, return_inverse=True)
    parts = np.stack([np.bincount(member, column) for column in columns], axis=1)  # (G, 2 + 2S)
    whole: F64 = parts.sum(axis=0)
    if (whole[[0, *range(1, len(whole), 2)]] <= 0).any():
        return None
    groups = len(parts)
    times = rng.multinomial(groups, np.full(groups, 1 / groups), size=DRAWS)
    sums = times.astype(np.float64) @ parts
    value = float(_lift_ratio(np.atleast_2d(whole))[0])
    if groups < 2 or (sums[:, [0, *range(1, len(whole), 2)]] <= 0).any():
        return {"value": value}
    low, high = np.quantile(_lift_ratio(sums), (0.025, 0.975))
    return {"value": value, "low": float(low), "high": float(high)}


def _lift_ratio(sums: F64) -> F64:
    """Mean lift away over lift at home of rows (gain, before, gain, before, ...), (n,)."""
    lifts = sums[:, 0::2] / sums[:, 1::2]
    return lifts[:, 1:].mean(axis=1) / lifts[:, 0]


def worth(mix: RewardMix, panel: Panel, texts: Sequence[str]) -> F64:
    """Mean uplift of the texts of each prompt, (prompts,), in median margins per impression."""
    return panel.per_prompt(mix.score(panel.items, panel.segments, texts).uplift)


def share_kept(
    home: F64, held_out: F64, items: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, float] | None:
    """Share of the mean gain at home that is left, ``{value, low, high}``; None without a gain.

    The interval resamples whole items with both gains of their prompts, so that what an item is
    worth in either shop cancels; there is none where the gain at home may be nought.

    Args:
        home, held_out: gains of the same prompts, (n,) each.
        items: item of each prompt, (n,).
        rng: resamples items.
    """
    share = share_of_way(np.zeros_like(home), held_out, home, items, rng)
    return None if share is None else share.as_dict()
