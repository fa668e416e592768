"""Writing logs of the simulated shop at scale: sessions in, Parquet parts with propensities out.

Session n of a log with seed s is the shop's session of seed s + n, and its slates come from coins
keyed by (s, n, step). So a log is a function of shop, policy, rule and seed: it does not depend on
batches or parts, and one that was cut short is taken up after its last whole part and ends in the
same rows as one that was not. With each slate stand the items that could have been shown, which is
what ``shelftalk ope --target BUNDLE`` asks for.

A shop whose shelves keep rules (`policies.constraints`) is logged under them: what they filter is
no candidate, and propensities are those of what they allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from envs import sessions
from envs.counter_rng import fold, new_keys
from envs.errors import UserError
from envs.feedback_store import FeedbackWriter
from envs.progress import Progress, silent
from envs.settings import Settings
from envs.shop import ShopVectorEnv
from envs.world import World
from experiments.ope.impressions import ShopNames, impressions_table
from policies.baselines import Page, SlatePolicy
from policies.constraints import rules_of
from policies.constraints_page import world_rules
from policies.logging_policies import EpsilonMixed, Explore, LoggingPolicy, PlackettLuce, TopK

#: Sessions stepped side by side, and the rows of one append.
_BATCH = 1_000
# Keys the slates' coins apart from the sessions' own, which come from the seeds themselves.
_COINS = 0x106
_FROM_STATE = ("shopper", "scene", "anchor", "day")
_OUTCOMES = ("items", "clicks", "purchases", "slot_reward")


class LogConfig(Settings):
    """A log of the simulated shop: how scores become slates, and how much is written."""

    logging: Literal["plackett_luce", "epsilon", "explore"] = "plackett_luce"
    """`plackett_luce` samples slot by slot in proportion to exp(score / temperature); `epsilon`
    shows a uniformly random slate with probability epsilon, else one of `base`; `explore` shows
    the best item left in each slot, or with probability epsilon any item left."""
    temperature: float = Field(0.25, gt=0)
    """Temperature of Plackett-Luce slates, in units of the scores: lower explores less."""
    epsilon: float = Field(0.1, ge=0, le=1)
    """Probability of exploring: per page for `epsilon`, per slot for `explore`."""
    base: Literal["top_k", "plackett_luce"] = "top_k"
    """What `epsilon` shows when it does not explore."""
    impressions: int = Field(100_000, ge=1)
    """Rows to write; the session that reaches them is finished."""
    rows_per_part: int = Field(250_000, ge=1)
    """Rows of one Parquet part: what a killed writer loses at most, with one batch of sessions."""


def logging_rule(config: LogConfig) -> LoggingPolicy:
    """Return the rule that a config names."""
    sampled = PlackettLuce(config.temperature)
    made: dict[str, Callable[[], LoggingPolicy]] = {
        "plackett_luce": lambda: sampled,
        "epsilon": lambda: EpsilonMixed(
            config.epsilon, TopK() if config.base == "top_k" else sampled
        ),
        "explore": lambda: Explore(config.epsilon),
    }
    return made[config.logging]()


def write_log(
    world: World,
    policy: SlatePolicy,
    config: LogConfig,
    out: Path,
    *,
    names: ShopNames,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write a log of ``policy``'s scores to the folder ``out``, or go on with the one there.

    Returns:
        ``impressions, slates, sessions, logging_policy`` of the whole log, as JSON values.

    Raises:
        UserError: the folder holds a log of another shop, policy or seed.
    """
    rule, kept = logging_rule(config), rules_of(world)
    description = {
        "logging_policy": logged_name(policy, rule),
        "seed": seed,
        "items": len(world.quality),
        "shoppers": world.n_shoppers,
        **{f"shop.{key}": v for key, v in world.config.model_dump(mode="json").items()},
        **({f"constraints.{key}": v for key, v in kept.summary().items()} if kept else {}),
    }
    with FeedbackWriter(out, config.rows_per_part, description) as writer:
        log_shop(
            world, policy, rule, writer,
            names=names, impressions=config.impressions, seed=seed, progress=progress,
        )  # fmt: skip
        last = writer.last_row()
        assert last is not None  # impressions is 1 at least
        return {
            "impressions": writer.rows,
            "slates": last["slate_id"] + 1,
            "sessions": last["session_id"] + 1,
            "logging_policy": description["logging_policy"],
        }


def logged_name(policy: SlatePolicy, rule: LoggingPolicy) -> str:
    """What the column ``logging_policy`` says, such as ``explore(epsilon=0.1) over similarity``."""
    return f"{rule.name} over {policy.name}"


def log_shop(
    world: World,
    policy: SlatePolicy,
    rule: LoggingPolicy,
    writer: FeedbackWriter,
    *,
    names: ShopNames,
    impressions: int,
    seed: int,
    progress: Progress = silent,
) -> None:
    """Serve sessions, one after the other by number, until the log holds ``impressions`` rows.

    Goes on after the log's last session. Sessions are written whole, so the log may hold a few
    rows more.

    Raises:
        UserError: the shop lets agents choose reasons: a logging rule gives slates alone.
    """
    if world.config.reasons == "choice":
        raise UserError(
            "shop.reasons is choice, but a log is written of slates alone; set it to book or none"
        )
    last = writer.last_row() or {"session_id": -1, "slate_id": -1}
    session, slate = last["session_id"] + 1, last["slate_id"] + 1
    server = _Server(world, policy, rule, ShopVectorEnv(world, _BATCH), seed)
    while writer.rows < impressions:
        pages = server.serve(session)
        wanted = -(-(impressions - writer.rows) // world.config.slots)
        pages = _whole_sessions(pages, wanted)
        table = impressions_table(world, pages, names, logged_name(policy, rule), slate)
        writer.append(table)
        session, slate = int(pages["session"][-1]) + 1, slate + len(pages["session"])
        progress(min(writer.rows, impressions), impressions, {"ctr": _mean(table, "click")})


@dataclass(frozen=True)
class _Server:
    """A shop whose pages are ordered by a policy's scores under a logging rule."""

    world: World
    policy: SlatePolicy
    rule: LoggingPolicy
    env: ShopVectorEnv
    seed: int

    def serve(self, first: int) -> dict[str, NDArray]:
        """Serve a batch of sessions from number ``first`` on; arrays sorted by session and step.

        All start together; a row whose session has ended shows its best slate to nobody.
        """
        env, slots = self.env, self.world.config.slots
        numbers = first + np.arange(env.num_envs)
        root = new_keys(np.random.default_rng((self.seed, _COINS)), 1)
        keys = fold(root, numbers)
        observation, _ = env.reset(seed=self.seed + first)
        actions = np.tile(np.arange(slots), (env.num_envs, 1))
        live = np.arange(env.num_envs)
        pages: list[dict[str, NDArray]] = []
        while len(live):
            rules = world_rules(self.world, env.state, observation["mask"])
            if rules is not None:
                observation = observation | {"mask": rules.mask}
                rules = rules.rows(live)
            shown = Page(observation, self.world, env.state, env.click_model)
            scores, mask = self.policy.score(shown)[live], observation["mask"][live]
            step = len(pages)
            _, offered = sessions.candidates(self.world, env.state)
            slates = self.rule.sample(scores, mask, slots, fold(keys[live], step), rules)
            page: dict[str, NDArray] = {
                "session": numbers[live],
                "step": np.full(len(live), step),
                **{name: getattr(env.state, name)[live] for name in _FROM_STATE},
                "candidates": np.where(mask > 0, offered[live], -1),
                **self.rule.propensities(scores, mask, slates, rules),
            }
            actions[live] = slates
            observation, _, terminated, truncated, info = env.step(actions)
            over = (terminated | truncated)[live]
            pages.append(page | {name: info[name][live] for name in _OUTCOMES} | {"done": over})
            live = live[~over]
        joined = {name: np.concatenate([page[name] for page in pages]) for name in pages[0]}
        order = np.lexsort((joined["step"], joined["session"]))
        return {name: values[order] for name, values in joined.items()}


def _whole_sessions(pages: dict[str, NDArray], wanted: int) -> dict[str, NDArray]:
    """The first ``wanted`` pages and the rest of their last session; all where there are fewer."""
    if wanted >= len(pages["session"]):
        return pages
    kept = pages["session"] <= pages["session"][wanted - 1]
    return {name: values[kept] for name, values in pages.items()}


def _mean(table: pa.Table, column: str) -> float:
    return float(table[column].to_numpy().mean())
