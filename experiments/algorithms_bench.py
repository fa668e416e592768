"""What all algorithms of a comparison share: the shop, its rewards, and the held-out panel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.assemble import Shop
from envs.store import load_shop
from experiments.config import Config
from experiments.held_out_lift import held_out_rewards
from experiments.measure_panel import Panel, draw_panel
from experiments.measure_writing import Judge
from experiments.shop_reward import shop_reward
from experiments.shop_training import references
from experiments.stages import stage_seed
from experiments.steps_sft import make_corpus
from policies.baselines import similarity_policy
from rewards.claims import ClaimChecker
from rewards.mix import RewardMix
from sft.corpus import Corpus

#: Stages of the run that a comparison starts from.
SOURCE = ("catalogue", "similarity", "sft")
#: Sections of the config that a cell and that the table depend on.
CELL_SECTIONS = ("corpus", "shop", "reward", "ppo", "measure")
TABLE_SECTIONS = (*CELL_SECTIONS, "held_out")


@dataclass(frozen=True)
class Bench:
    """Where algorithms are compared; the same for all of them."""

    config: Config
    shop: Shop
    corpus: Corpus
    panel: Panel
    #: The reward that is trained on, as in the run's PPO stage.
    home: RewardMix
    #: Folder of the SFT writer that all start from.
    sft: Path

    def judge(self) -> Judge:
        """Return the judge of texts, always with the same pairs of rows."""
        rng = np.random.default_rng([self.config.seed, 5])
        return Judge(self.shop.visitors, self.home.checker, self.panel, rng)

    def held_out(self) -> dict[str, RewardMix]:
        """Return the rewards of the held-out shops, those of the run's PPO stage."""
        config = self.config
        rng = np.random.default_rng([config.seed, 4])
        return held_out_rewards(
            self.shop, config.shop, config.held_out, self.home.checker, config.reward, rng
        )


def open_bench(config: Config, run: Path) -> Bench:
    """Open the finished stages `SOURCE` of a run."""
    shop = load_shop(run / "catalogue", run / "similarity")
    visitors = shop.visitors
    corpus = make_corpus(config, visitors.catalogue, visitors.profiles)
    rng = np.random.default_rng([config.seed, 2])
    checker = ClaimChecker(visitors.catalogue)
    home = shop_reward(
        shop.world(config.shop), similarity_policy(), checker, config.reward,
        stage_seed(config.seed, "ppo"), references(corpus),
    )  # fmt: skip
    panel = draw_panel(config.measure, visitors, corpus.held_items, rng)
    return Bench(config, shop, corpus, panel, home, run / "sft")
