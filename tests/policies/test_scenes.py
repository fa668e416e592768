"""One policy serves home, similar-to-an-item and search: the same network, told the scene."""

from __future__ import annotations

import numpy as np
import torch

from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.shop import ShopVectorEnv
from envs.similarity import SCENES
from envs.world import World
from policies.baselines import Page, ranker_policy, scorer_logits
from policies.ranker.config import ScorerConfig
from policies.ranker.scorer import SlateScorer


def _scorer() -> SlateScorer:
    generator = torch.Generator().manual_seed(0)
    scorer = SlateScorer(ScorerConfig(), ITEM_FEATURES, CONTEXT_FEATURES, generator)
    with torch.no_grad():  # a fresh head is zero, which no scene could change
        scorer.score_out.weight.normal_(generator=generator)
    return scorer.eval()


def test_one_ranker_fills_whole_slates_in_every_scene(small_world: World) -> None:
    env = ShopVectorEnv(small_world, 64)
    observation, _ = env.reset(seed=3)
    policy, met = ranker_policy(_scorer()), set()
    for _ in range(4):
        page = Page(observation, small_world, env.state, env.click_model)
        slates = policy.slates(page)
        for row, scene in enumerate(env.state.scene):
            met.add(SCENES[scene])
            assert len(set(slates[row])) == small_world.config.slots
            # Who else is in the batch, and in which scene, makes no difference.
            alone = Page(
                {name: part[[row]] for name, part in observation.items()},
                small_world, env.state, env.click_model,
            )  # fmt: skip
            np.testing.assert_array_equal(policy.slates(alone)[0], slates[row])
        observation, *_, info = env.step(slates)
        assert not info["illegal_slots"].any()
    assert met == set(SCENES)


def test_the_scene_alone_can_change_the_order(small_world: World) -> None:
    env = ShopVectorEnv(small_world, 1)
    observation, _ = env.reset(seed=5)
    logits = []
    for scene in range(len(SCENES)):
        context = observation["context"].copy()
        context[:, : len(SCENES)] = np.eye(len(SCENES))[scene]
        logits.append(scorer_logits(_scorer(), {**observation, "context": context})[0])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shift = logits[one] - logits[other]
        assert np.ptp(shift) > 1e-3, "a common shift would leave the order as it is"
