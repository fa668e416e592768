"""A log from the simulated shop, and the true value that estimates of it should find.

The value of a target policy here is the expected reward (clicks and purchases) of the slate that it
would show *on the logged pages*: what an estimator can hope to learn from a log. The truth asks the
shop itself: target slates are drawn on every logged page, in the very state the shopper was in, and
their expected reward is computed from the click model, without coin flips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from envs import sessions
from envs.clicks import ClickModel
from envs.progress import Progress, silent
from envs.sessions import SessionState
from envs.shop import ShopVectorEnv
from envs.world import World
from experiments.ope.impressions import ShopNames, impressions_table
from policies.constraints_page import PageRules, best_slates, world_rules
from policies.logging_policies import PlackettLuce
from policies.ranker.plackett_luce import sample_slates

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Slates in proportion to exp(logit), slot by slot, and their exact propensities.
_RULE = PlackettLuce(1.0)

#: Observation -> Plackett-Luce logits (B, N).
Logits = Callable[[dict[str, F32]], F32]


@dataclass(frozen=True)
class ShopLog:
    """S logged slates of k items, with what models and the truth need."""

    #: The feedback log, S * k rows sorted by slate and position.
    frame: pd.DataFrame
    #: Features of the logged items with their page's context, (S, k, F) float32.
    logged_features: F32
    #: Features of M slates drawn from the target, (S, M, k, F) float32.
    target_features: F32
    #: Reward by position, (S, k) float32.
    rewards: F32
    #: Session of each slate, (S,) int64.
    sessions: I64
    #: Expected reward of the target on each logged page, (S,) float64.
    truth: F64
    #: The same for the logging policy's own slates, (S,) float64.
    logging_truth: F64


def slate_features(observation: dict[str, F32], slates: I64) -> F32:
    """Features (B, k, F + C_ctx) of the items in slates (B, k), with the page's context."""
    chosen = np.take_along_axis(observation["items"], slates[..., None], axis=1)
    context = np.broadcast_to(
        observation["context"][:, None], (*slates.shape, observation["context"].shape[1])
    )
    return np.concatenate([chosen, context], axis=-1)


def expected_reward(
    world: World,
    model: ClickModel,
    state: SessionState,
    slates: I64,
    variants: I64 | None = None,
) -> F64:
    """Expected click and purchase reward of each slate, (B,), given the hidden state.

    ``variants`` (B, k) are the reasons beside the items, where the shop has a choice of them.
    """
    columns, items = sessions.candidates(world, state)
    columns, items = (np.take_along_axis(x, slates, axis=1) for x in (columns, items))
    charm = sessions.appeal(world, state, columns, items, variants)
    clicks = model.marginal_click_probability(charm.attraction)
    config = world.config
    worth = config.w_click + config.w_buy * world.margin[items] * charm.purchase
    return (clicks * worth).sum(axis=1).astype(np.float64)


def log_sessions(
    world: World,
    logging: Logits,
    target: Logits,
    *,
    sessions_count: int,
    model_slates: int,
    truth_slates: int,
    item_ids: list[str],
    shopper_ids: list[str],
    seed: int,
    logging_name: str = "plackett_luce",
    progress: Progress = silent,
) -> ShopLog:
    """Serve sessions with sampled slates of ``logging`` and write down everything.

    Each env row serves one session; pages after its end are left out. ``logging_name`` is what the
    column ``logging_policy`` says. For long logs without a target see `experiments.ope.log_shop`.
    """
    names = ShopNames.from_lists(item_ids, shopper_ids, [])
    env = ShopVectorEnv(world, sessions_count)
    observation, _ = env.reset(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    slots, live = world.config.slots, np.ones(sessions_count, dtype=bool)
    pages: list[dict[str, NDArray]] = []
    while live.any():
        rows = np.flatnonzero(live)
        seen = {name: values[rows] for name, values in observation.items()}
        state = state_rows(env.state, rows)
        rules = world_rules(world, state, seen["mask"])
        if rules is not None:
            seen["mask"] = rules.mask
        mask = torch.from_numpy(seen["mask"])
        scores, goals = logging(seen), target(seen)
        logits, wanted = torch.from_numpy(scores), torch.from_numpy(goals)
        slates = _sampled(logits, mask, slots, generator, rules)

        def drawn(
            count: int,
            wanted: torch.Tensor = wanted,
            mask: torch.Tensor = mask,
            rules: PageRules | None = rules,
        ) -> list[I64]:
            return [_sampled(wanted, mask, slots, generator, rules) for _ in range(count)]

        truth = [expected_reward(world, env.click_model, state, s) for s in drawn(truth_slates)]
        page: dict[str, NDArray] = {
            "session": rows,
            "step": np.full(len(rows), len(pages)),
            "shopper": state.shopper,
            "scene": state.scene,
            "anchor": state.anchor,
            "day": state.day,
            "logged_features": slate_features(seen, slates),
            "target_features": np.stack(
                [slate_features(seen, s) for s in drawn(model_slates)], axis=1
            ),
            "truth": np.mean(truth, axis=0),
            "logging_truth": expected_reward(world, env.click_model, state, slates),
            **_RULE.propensities(scores, seen["mask"], slates, rules),
            **{
                f"eval_{name}": values
                for name, values in _RULE.propensities(goals, seen["mask"], slates, rules).items()
            },
        }
        actions = np.tile(np.arange(slots), (sessions_count, 1))
        actions[rows] = slates
        observation, _, terminated, truncated, info = env.step(actions)
        for name in ("items", "clicks", "purchases", "slot_reward"):
            page[name] = info[name][rows]
        page["done"] = (terminated | truncated)[rows]
        pages.append(page)
        live &= ~(terminated | truncated)
        progress(sessions_count - int(live.sum()), sessions_count, {})
    joined = {name: np.concatenate([page[name] for page in pages]) for name in pages[0]}
    order = np.lexsort((joined["step"], joined["session"]))
    joined = {name: values[order] for name, values in joined.items()}
    return ShopLog(
        frame=impressions_table(world, joined, names, logging_name).to_pandas(),
        logged_features=joined["logged_features"],
        target_features=joined["target_features"],
        rewards=joined["slot_reward"],
        sessions=joined["session"],
        truth=joined["truth"],
        logging_truth=joined["logging_truth"],
    )


def _sampled(
    logits: torch.Tensor, mask: torch.Tensor, slots: int, generator: torch.Generator,
    rules: PageRules | None,
) -> I64:  # fmt: skip
    """Sample a Plackett-Luce slate a page, (B, k), among what the shop's rules allow."""
    if rules is None:
        return sample_slates(logits, mask, slots, generator).numpy()
    gumbel = -torch.empty_like(logits).exponential_(generator=generator).log()
    return best_slates((logits + gumbel).numpy(), rules)


def state_rows(state: SessionState, rows: I64) -> SessionState:
    """Return the state of some of the sessions."""
    return SessionState(**{name: values[rows] for name, values in vars(state).items()})
