"""Pointwise click regression: rank by the odds of a click, learned from a log.

A log shows good items in good slots. Two corrections take that apart:

- The slot is a feature beside the item's own: one indicator a slot, additive in the logit like the
  shallow tower for position in Zhao et al. 2019, "Recommending what video to watch next", section
  4.3. All candidates are scored as if they stood in the first slot.
- Each impression is weighted by 1 / P(this item in this slot) under the logging policy (inverse
  propensities, Horvitz and Thompson 1952), clipped: in the weighted log each slot shows a uniform
  draw, so that its indicator does not learn how good the items there are.

Where purchases are to count, a click weighs what it earned (Covington, Adams, Sargin 2016, "Deep
neural networks for YouTube recommendations", section 4.2): as clicks are rare, the odds then are
the expected reward, up to a factor. Learners compete by log loss on sessions held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from envs.errors import UserError
from policies.baselines import Page, SlatePolicy
from policies.linear_scores import LinearScores
from policies.page_features import joint_features

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: What a click counts: once, or in proportion to what it earned.
Target = Literal["click", "reward"]
#: Kinds of learners that compete.
LearnerKind = Literal["logistic", "boosting"]

#: Inverse strength of the logistic regression's ridge penalty, on features of unit spread.
_STRENGTHS = (0.003, 0.03, 0.3)
_BOOSTING = {"max_leaf_nodes": 8, "learning_rate": 0.1, "max_iter": 100, "early_stopping": False}
#: Every fifth session is held out.
_HELD_OUT = 5
#: Inverse propensities above so many times their mean are cut.
_CLIP = 10.0


@dataclass(frozen=True)
class ClickLog:
    """S logged pages with k slots."""

    #: Context of the page, (S, C_ctx) float32, and features of what was shown, (S, k, F) float32.
    context: F32
    items: F32
    #: Whether it was clicked, and the reward of the slot, both (S, k).
    clicks: Bools
    rewards: F64
    #: P(this item in this slot) under the logging policy, (S, k).
    propensity: F64
    #: Session of each page, (S,) int64.
    sessions: NDArray[np.int64]


@dataclass(frozen=True)
class ClickRegression:
    """The learner that won, fitted on the whole log."""

    policy: SlatePolicy
    #: Held-out log loss of each learner, by name.
    log_loss: Mapping[str, float]
    #: Name of the winner.
    chosen: str
    #: Its weights, to be kept (`save_linear`); None where boosting won, which lives in memory only.
    linear: LinearScores | None


class _Fitted(Protocol):
    def logit(self, shown: _Shown) -> F64:
        """Log odds of a click, (B, M)."""

    def policy(self, name: str, slots: int) -> tuple[SlatePolicy, LinearScores | None]:
        """Score candidates as if they stood in the first slot; with weights where it is linear."""


class _Learner(Protocol):
    def fit(self, shown: _Shown, clicks: Bools, weights: F64) -> _Fitted:
        """Learn from clicks (B, M) with weights (B, M)."""


@dataclass(frozen=True)
class _Shown:
    """M items on each of B pages, and the slots that they stand in."""

    context: F32
    items: F32
    #: Indicators of slots, (B, M, k) float32.
    slots: F32

    @classmethod
    def in_turn(cls, context: F32, items: F32) -> _Shown:
        """Items in slots 0, 1, ..., as a log has them."""
        return cls(context, items, _places(items, np.eye(items.shape[1], dtype=np.float32)))

    @classmethod
    def on_top(cls, context: F32, items: F32, slots: int) -> _Shown:
        """All items as if in the first of ``slots`` slots."""
        return cls(context, items, _places(items, np.eye(1, slots, dtype=np.float32)))

    def rows(self, pages: Bools) -> _Shown:
        """Return some of the pages."""
        return _Shown(self.context[pages], self.items[pages], self.slots[pages])

    def crossed(self) -> F32:
        """Joint features beside slots, (B * M, D + k)."""
        return self._flat(joint_features(self.context, self.items))

    def plain(self) -> F32:
        """Item features and context beside slots, (B * M, F + C_ctx + k)."""
        context = np.broadcast_to(
            self.context[:, None], (*self.items.shape[:2], self.context.shape[1])
        )
        return self._flat(np.concatenate([self.items, context], axis=-1))

    def _flat(self, features: F32) -> F32:
        both = np.concatenate([features, self.slots], axis=-1)
        return both.reshape(-1, both.shape[-1])


def _places(items: F32, indicators: F32) -> F32:
    return np.broadcast_to(indicators, (*items.shape[:2], indicators.shape[1]))


def fit_click_regression(
    log: ClickLog,
    target: Target = "click",
    kinds: Sequence[LearnerKind] = ("logistic", "boosting"),
    name: str = "click_regression",
    seed: int = 0,
) -> ClickRegression:
    """Choose a learner by held-out log loss and fit it on the whole log.

    Args:
        log: pages in any order.
        target: ``click``, or ``reward`` to weigh each click by what it earned.
        kinds: of learners that compete; logistic regressions of three strengths count as one.
        name: of the policy.
        seed: of the boosting's own draws.

    Raises:
        UserError: too few clicks in the log to learn from.
    """
    shown = _Shown.in_turn(log.context, log.items)
    weights = impression_weights(log, target)
    held = log.sessions % _HELD_OUT == 0
    _check_clicks(log, held)
    learners, losses = _learners(kinds, seed), {}
    for which, learner in learners.items():
        fitted = learner.fit(shown.rows(~held), log.clicks[~held], weights[~held])
        logit = fitted.logit(shown.rows(held))
        losses[which] = weighted_log_loss(logit, log.clicks[held], weights[held])
    chosen = min(losses, key=lambda which: losses[which])
    best = learners[chosen].fit(shown, log.clicks, weights)
    policy, linear = best.policy(name, log.clicks.shape[1])
    return ClickRegression(policy, losses, chosen, linear)


def _check_clicks(log: ClickLog, held: Bools) -> None:
    for part, where in (("other sessions", ~held), ("each fifth session", held)):
        clicks = log.clicks[where]
        if not clicks.any() or clicks.all():
            raise UserError(
                f"click_regression: {int(clicks.sum())} of {clicks.size} logged impressions of "
                f"{part} were clicked, and there must be clicked ones and others; raise "
                "baselines.log_sessions"
            )


def weighted_log_loss(logit: F64, clicks: Bools, weights: F64) -> float:
    """Return the weighted mean of -log P(what happened); arguments of one shape."""
    loss = np.logaddexp(0, np.where(clicks, -logit, logit))
    return float(np.average(loss, weights=weights))


def impression_weights(log: ClickLog, target: Target) -> F64:
    """Return the weight of each impression, (S, k), with mean one before rewards count."""
    inverse = 1 / log.propensity
    inverse = np.minimum(inverse / inverse.mean(), _CLIP)
    weights = inverse / inverse.mean()
    if target == "reward":
        worth = log.rewards[log.clicks]
        weights[log.clicks] *= worth / max(float(worth.mean()) if len(worth) else 0.0, 1e-12)
    return weights


@dataclass(frozen=True)
class _Logistic:
    """Logistic regression on the joint features with a ridge penalty."""

    strength: float

    def fit(self, shown: _Shown, clicks: Bools, weights: F64) -> _FittedLogistic:
        design = shown.crossed()
        spread = design.std(axis=0)
        # A feature that is always the same has nothing to say.
        scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0).astype(np.float32)
        model = LogisticRegression(C=self.strength, max_iter=500)
        model.fit(design * scale, clicks.ravel(), sample_weight=weights.ravel())
        return _FittedLogistic(model.coef_[0] * scale, float(model.intercept_[0]))


@dataclass(frozen=True)
class _FittedLogistic:
    weights: F64
    offset: float

    def logit(self, shown: _Shown) -> F64:
        return (shown.crossed() @ self.weights + self.offset).reshape(shown.items.shape[:2])

    def policy(self, name: str, slots: int) -> tuple[SlatePolicy, LinearScores]:
        linear = LinearScores(name, self.weights[:-slots].astype(np.float32))
        return linear.policy(), linear


@dataclass(frozen=True)
class _Boosting:
    """Gradient boosting on the observation as it is: trees find products by themselves."""

    seed: int

    def fit(self, shown: _Shown, clicks: Bools, weights: F64) -> _FittedBoosting:
        model = HistGradientBoostingClassifier(random_state=self.seed, **_BOOSTING)
        return _FittedBoosting(
            model.fit(shown.plain(), clicks.ravel(), sample_weight=weights.ravel())
        )


@dataclass(frozen=True)
class _FittedBoosting:
    model: Any

    def logit(self, shown: _Shown) -> F64:
        return self.model.decision_function(shown.plain()).reshape(shown.items.shape[:2])

    def policy(self, name: str, slots: int) -> tuple[SlatePolicy, None]:
        def score(page: Page) -> F32:
            seen = page.observation
            shown = _Shown.on_top(seen["context"], seen["items"], slots)
            return self.logit(shown).astype(np.float32)

        return SlatePolicy(name, score), None


def _learners(kinds: Sequence[LearnerKind], seed: int) -> dict[str, _Learner]:
    found: dict[str, _Learner] = {}
    if "logistic" in kinds:
        found |= {f"logistic(C={strength:g})": _Logistic(strength) for strength in _STRENGTHS}
    if "boosting" in kinds:
        found["boosting"] = _Boosting(seed)
    return found
