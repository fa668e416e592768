"""What the PPO stage says of the held-out shops: the lift there beside the lift at home."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.assemble import Shop
from experiments.config import Config
from experiments.held_out_config import HeldOutConfig
from experiments.held_out_lift import Pair, held_out_rewards, in_other_words, lift
from experiments.measure_panel import Panel, Writer
from experiments.stages import StageContext
from rewards.mix import RewardMix

#: Share of the lift that should be left where no training was.
WANTED = 0.7


def measure_held_out(
    context: StageContext, shop: Shop, held_out: HeldOutConfig, home: RewardMix, panel: Panel,
    texts: Pair, writers: tuple[Writer, Writer],
) -> dict[str, Any]:  # fmt: skip
    """Judge the writers before and after once more, in shops that no training saw.

    Args:
        context: the PPO stage.
        shop: the training shop.
        held_out: how far the held-out shops are from it.
        home: its reward.
        panel: held-out prompts.
        texts: what both writers wrote for the panel.
        writers: the same two, to be asked in other words.

    Returns:
        What `experiments.held_out_lift.lift` returns.
    """
    config: Config = context.config
    rng = np.random.default_rng([config.seed, 4])
    rewards = held_out_rewards(shop, config.shop, held_out, home.checker, config.reward, rng)
    context.say(f"writing {2 * len(panel.prompts):,} reasons in the held-out shops' words")
    other_words = in_other_words(shop, held_out, panel, writers, context.seed + 1, rng)
    found = lift(home, rewards, panel, texts, other_words, rng)
    for where, kept in (
        ("lift is left in the held-out shops", found["lift_kept"]),
        ("gain is left there when facts are told in other words", found["other_words"]["kept"]),
    ):
        # Without an interval the gain at home may be nought: there is another warning for that.
        if kept is not None and "low" in kept and kept["value"] < WANTED:
            span = f"{kept['low']:.0%} to {kept['high']:.0%}"
            context.warn(f"{kept['value']:.0%} ({span}) of the PPO {where}")
    return found
