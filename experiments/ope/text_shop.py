"""Logs of the simulated shop in which reasons are chosen too, word by word, and their true value.

A reason here has something to claim (one of M claims, such as the aspect that the reader's segment
likes best) and a wording: a synonym for each of its L tokens. The shop reads claims and the number
of words, so two wordings of one claim earn the same, as `experiments.ope.text_actions` assumes of
claim weights. Ranking is the same under both writers; the writers differ in claims and wording.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.behaviour import ShopConfig
from envs.clicks import ClickModel
from envs.counter_rng import new_keys
from envs.reasons import ReasonTable
from envs.sessions import SessionState
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES
from envs.world import World
from experiments.ope.shop_log import expected_reward, state_rows
from experiments.ope.text_actions import claim_kernel, claim_probability, kernel_weights
from policies.logging_policies import PlackettLuce

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: The default shop in which the agent chooses the reasons, with fewer slots: the weights of the
#: reasons on a page multiply. Clicks are more frequent than by default, so that logs can be short.
CHOICE = ShopConfig(reasons="choice", slots=2, candidates=10, max_pages=4, bias=-3.5)
_WORDS = 8.0
#: How both writers' pages are ordered: by sampled mean similarity.
_RANKING = PlackettLuce(0.25)


@dataclass(frozen=True)
class Writer:
    """A reason policy that is the same for all items and readers."""

    #: Probability of each claim, (M,).
    claims: F64
    #: Probability of each synonym, at every token, (V,).
    tokens: F64
    length: int

    def write(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[I64, I64]:
        """Draw claims ``shape`` and wordings ``(*shape, L)``."""
        claims = rng.choice(len(self.claims), size=shape, p=self.claims)
        return claims, rng.choice(len(self.tokens), size=(*shape, self.length), p=self.tokens)

    def probability(self, claims: I64, wording: I64) -> F64:
        """Return the probability of each text, of the shape of ``claims``."""
        return self.claims[claims] * self.tokens[wording].prod(axis=-1)


@dataclass(frozen=True)
class TextLog:
    """S slates of k items with reasons, and what claim models ask for."""

    #: The feedback log with target columns, sorted by slate and position.
    frame: pd.DataFrame
    #: Expected reward of the target's reasons on each logged slate, (S,).
    truth: F64
    #: Number of the claim of each row, (S * k,), and numbers about shopper and item, (S * k, C).
    claims: I64
    context: F64


def with_claims(world: World, claims: int) -> World:
    """Return the shop with M reasons to choose from: the m-th claims the m-th liked aspect."""
    items, segments, aspects = world.reasons.claims.shape
    liked = np.argsort(-world.segment_aspects, axis=1)
    tables = []
    for place in range(claims):
        claimed = np.zeros((items, segments, aspects), dtype=np.float32)
        claimed[:, np.arange(segments), liked[:, place]] = 1
        holds = (world.aspects > 0)[:, None]
        lies = (claimed * ~holds).sum(axis=-1, dtype=np.float32)
        tables.append(ReasonTable(claimed, lies, np.full((items, segments), _WORDS, np.float32)))
    return world.with_config(CHOICE).with_variants(tables)


def log_texts(
    world: World, logging: Writer, target: Writer, sessions_count: int, seed: int
) -> TextLog:
    """Serve sessions with sampled similarity slates and the logging writer's reasons.

    Args:
        world: as `with_claims` makes it.
        logging: who writes.
        target: whose value is asked for.
        sessions_count: number of sessions, all played side by side.
        seed: of the shop's sessions, and of slates and reasons.
    """
    env, rng = ShopVectorEnv(world, sessions_count), np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    pages: list[dict[str, NDArray]] = []
    live = np.arange(sessions_count)
    while len(live):
        seen = {name: values[live] for name, values in observation.items()}
        page = _shown(seen, world.config.slots, logging, target, rng)
        state = state_rows(env.state, live)
        page["truth"] = _expected(world, env.click_model, state, page["slate"], target)
        actions = {
            "slate": np.tile(np.arange(world.config.slots), (sessions_count, 1)),
            "reason": np.zeros((sessions_count, world.config.slots), dtype=np.int64),
        }
        actions["slate"][live], actions["reason"][live] = page.pop("slate"), page["claims"]
        observation, _, terminated, truncated, info = env.step(actions)
        pages.append(
            page
            | {
                "session": live,
                "step": np.full(len(live), len(pages)),
                "items": info["items"][live],
                "reward": info["slot_reward"][live].astype(np.float64),
            }
        )
        live = live[~(terminated | truncated)[live]]
    joined = {name: np.concatenate([page[name] for page in pages]) for name in pages[0]}
    order = np.lexsort((joined["step"], joined["session"]))
    return _laid_out({name: values[order] for name, values in joined.items()}, logging, target)


def _shown(
    seen: dict[str, NDArray], slots: int, logging: Writer, target: Writer, rng: np.random.Generator
) -> dict[str, NDArray]:
    """Draw slates and reasons for B pages, with the probabilities of both."""
    scores, mask = seen["items"][..., : len(SCORES)].mean(axis=-1), seen["mask"]
    slates = _RANKING.sample(scores, mask, slots, new_keys(rng, len(scores)))
    claims, wording = logging.write(slates.shape, rng)
    chosen = np.take_along_axis(seen["items"], slates[..., None], axis=1)
    return {
        "slate": slates,
        "claims": claims,
        "context": chosen[..., : len(SCORES)].astype(np.float64),
        "pscore_reason": logging.probability(claims, wording),
        "eval_pscore_reason": target.probability(claims, wording),
        **_RANKING.propensities(scores, mask, slates),
    }


def _expected(
    world: World, model: ClickModel, state: SessionState, slates: I64, target: Writer
) -> F64:
    """Expected reward of B slates under the target's reasons, (B,): a sum over all claims."""
    total = np.zeros(len(slates))
    for said in product(range(len(target.claims)), repeat=slates.shape[1]):
        variants = np.tile(said, (len(slates), 1))
        chance = target.claims[list(said)].prod()
        total += chance * expected_reward(world, model, state, slates, variants)
    return total


def _laid_out(pages: dict[str, NDArray], logging: Writer, target: Writer) -> TextLog:
    slates, slots = pages["items"].shape
    claims = pages["claims"].ravel()
    chances = [np.tile(writer.claims, (len(claims), 1)) for writer in (logging, target)]
    codes = np.arange(len(logging.claims))
    propensities = {name: v.ravel() for name, v in pages.items() if name.startswith("pscore")}
    same_ranking = {
        f"eval_{name}": v for name, v in propensities.items() if name != "pscore_reason"
    }
    frame = pd.DataFrame(
        {
            "session_id": np.repeat(pages["session"], slots),
            "step": np.repeat(pages["step"], slots),
            "slate_id": np.repeat(np.arange(slates), slots),
            "position": np.tile(np.arange(slots), slates),
            "item_id": pages["items"].ravel(),
            "reward": pages["reward"].ravel(),
            **propensities,
            **same_ranking,
            "eval_pscore_reason": pages["eval_pscore_reason"].ravel(),
            "pscore_claims": claim_probability(chances[0], codes, claims),
            "eval_pscore_claims": claim_probability(chances[1], codes, claims),
            "weight_kernel": kernel_weights(
                chances[1], chances[0], claim_kernel(np.eye(len(codes)), 1.0), claims
            ),
        }
    )
    context = pages["context"].reshape(len(claims), -1)
    position = np.tile(np.eye(slots), (slates, 1))
    return TextLog(frame, pages["truth"], claims, np.concatenate([context, position], axis=1))
