"""Logging policies: how a shop turns scores into slates while it keeps exact propensities.

A rule takes scores ``(B, N)`` and the mask of what may be shown, samples ordered slates ``(B, k)``
and says how likely they were, in the three kinds that off-policy estimators ask for:

- ``pscore``: the whole ordered slate;
- ``pscore_cascade``: the items up to and with this slot;
- ``pscore_item_position``: this item in this slot, whatever stands elsewhere.

All three are exact for every rule here: no Monte Carlo. A slate that the rule cannot show has
probability 0. Where fewer than k candidates may be shown, the slots left over are *void*: they hold
masked candidates and have probability 1.

Where a shelf keeps rules (`PageRules`), each stage chooses among what they allow there, and the
first two kinds are still exact; the third is too, but for Plackett-Luce with both groups and new
items to keep and for `Explore`, where it is sampled (`policies.constraints_chances`). Its standard
error is then a fourth array, `STANDARD_ERROR`. Void slots repeat an item and have probability 1.

Coins are counter-based (`envs.counter_rng`): a page's slate follows from its own key, so a log
does not depend on batches and can be taken up again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.counter_rng import Keys, fold, uniform
from envs.errors import UserError
from envs.feedback import PROPENSITIES
from policies import constraints_chances as ruled
from policies.constraints_page import PageRules, best_slates, fill
from policies.logging_race import SPAN, prefix_log_probs, slate_marginals

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: The three kinds by column name, and under rules the third's error, each (B, k) float64.
Propensities = dict[str, F64]

# What a coin is for: the first counter of a page's key.
_GUMBEL, _MIX, _BASE, _EXPLORE, _PICK = range(5)


class LoggingPolicy(Protocol):
    """The contract of a rule."""

    @property
    def name(self) -> str:
        """What the column ``logging_policy`` calls it, parameters included."""

    def sample(
        self, scores: NDArray[Any], mask: NDArray[Any], slots: int, keys: Keys,
        rules: PageRules | None = None,
    ) -> I64:  # fmt: skip
        """Draw one slate a page, (B, k) int64 candidate positions, from keys (B,) uint64.

        ``rules`` say what else a slate must keep; their mask is then the ``mask``.
        """

    def propensities(
        self, scores: NDArray[Any], mask: NDArray[Any], slates: I64,
        rules: PageRules | None = None,
    ) -> Propensities:  # fmt: skip
        """Return the probabilities of ``slates`` (B, k), which need not have been sampled here."""


@dataclass(frozen=True)
class TopK:
    """The k best candidates in order, ties by position: no exploration, so no support."""

    @property
    def name(self) -> str:
        """Without parameters."""
        return "top_k"

    def sample(
        self, scores: NDArray[Any], mask: NDArray[Any], slots: int, keys: Keys,
        rules: PageRules | None = None,
    ) -> I64:  # fmt: skip
        """Return the best slates; the keys are not needed."""
        if rules is not None:
            return best_slates(_sure(scores, mask > 0), rules)
        return _ranking(scores, mask > 0)[:, :slots]

    def propensities(
        self, scores: NDArray[Any], mask: NDArray[Any], slates: I64,
        rules: PageRules | None = None,
    ) -> Propensities:  # fmt: skip
        """Return ones where a slate is the best one, else zeros."""
        if rules is not None:
            sure = _sure(scores, mask > 0)
            stages = ruled.stage_chances(rules, slates, sure, ruled.best_allowed)
            best = (slates == best_slates(sure, rules)).astype(np.float64)
            return ruled.bundle(rules, slates, stages, best, np.zeros_like(best))
        stands = (slates == _ranking(scores, mask > 0)[:, : slates.shape[1]]).astype(np.float64)
        void = _void(mask, slates.shape[1])
        stands[void] = 1.0
        return _bundle(np.cumprod(stands, axis=1), stands)


@dataclass(frozen=True)
class PlackettLuce:
    """Slot by slot, an item still left with probability in proportion to exp(score / temperature).

    Luce 1959, Plackett 1975. Candidates with a score of minus infinity come after all others, in
    any order. Finite scores of a page may span `SPAN` temperatures: probabilities of what lies
    further apart are no float64 numbers, and a UserError says so.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Check the temperature; raises a UserError."""
        if not self.temperature > 0:
            raise UserError(f"temperature must be above 0, but is {self.temperature:g}")

    @property
    def name(self) -> str:
        """With the temperature."""
        return f"plackett_luce(temperature={self.temperature:g})"

    def sample(
        self, scores: NDArray[Any], mask: NDArray[Any], slots: int, keys: Keys,
        rules: PageRules | None = None,
    ) -> I64:  # fmt: skip
        """Draw by Gumbel top-k (Yellott 1977): the ranking of logits with Gumbel noise added."""
        logits = self._logits(scores, mask > 0)
        # Half a unit in the last place keeps the logarithm's argument above 0.
        gumbel = -np.log(-np.log(_coins(keys, _GUMBEL, logits.shape[1]) + 2.0**-54))
        if rules is not None:
            # What is allowed only shrinks, so whoever is turned away once is so for good, and
            # those left keep their order of arrival: the race's law among them.
            return best_slates(_sure(logits + gumbel, mask > 0), rules)
        return _ranking(logits + gumbel, mask > 0)[:, :slots]

    def propensities(
        self, scores: NDArray[Any], mask: NDArray[Any], slates: I64,
        rules: PageRules | None = None,
    ) -> Propensities:  # fmt: skip
        """Return products of stages, and marginals by the race integral (`slate_marginals`)."""
        logits, allowed = self._logits(scores, mask > 0), mask > 0
        if rules is not None:
            return _in_proportion(rules, logits, slates)
        cascade = np.exp(prefix_log_probs(logits, allowed, slates))
        return _bundle(cascade, slate_marginals(logits, allowed, slates))

    def _logits(self, scores: NDArray[Any], mask: Bools) -> F64:
        """Logits (B, N) below each page's best, from 0 down to -SPAN."""
        logits = np.where(mask, _checked(scores, mask), -np.inf) / self.temperature
        best = logits.max(axis=1, initial=-np.inf, keepdims=True)
        logits -= np.where(np.isfinite(best), best, 0.0)
        span = -logits.min(initial=0.0, where=np.isfinite(logits))
        if span > SPAN:
            raise UserError(
                f"temperature {self.temperature:g} is too low: a page's scores span {span:.4g} "
                f"temperatures, and probabilities are numbers up to {SPAN:g} only; raise it, or "
                "explore from the best slate instead (epsilon or explore)"
            )
        return np.maximum(logits, -SPAN)


@dataclass(frozen=True)
class EpsilonMixed:
    """With probability epsilon a uniformly random slate, else one of ``base``: one coin a page.

    Under rules the random slate draws each slot uniformly from what is allowed there. A mixture
    over whole slates, so each kind of propensity is the same mixture:
    ``p = epsilon * uniform + (1 - epsilon) * base``.
    """

    epsilon: float
    base: LoggingPolicy = TopK()

    def __post_init__(self) -> None:
        """Check epsilon; raises a UserError."""
        _check_epsilon(self.epsilon)

    @property
    def name(self) -> str:
        """With epsilon and the base's name."""
        return f"epsilon(epsilon={self.epsilon:g}, base={self.base.name})"

    def sample(
        self, scores: NDArray[Any], mask: NDArray[Any], slots: int, keys: Keys,
        rules: PageRules | None = None,
    ) -> I64:  # fmt: skip
        """Toss the page's coin and draw from the one or the other."""
        coins = _coins(keys, _GUMBEL, scores.shape[1])
        anything = (
            _ranking(coins, mask > 0)[:, :slots] if rules is None else best_slates(coins, rules)
        )
        base = self.base.sample(scores, mask, slots, fold(keys, _BASE), rules)
        mixes = uniform(fold(keys, _MIX)) < self.epsilon
        return np.where(mixes[:, None], anything, base)

    def propensities(
        self, scores: NDArray[Any], mask: NDArray[Any], slates: I64,
        rules: PageRules | None = None,
    ) -> Propensities:  # fmt: skip
        """Mix the uniform slate's probabilities with the base's."""
        base = self.base.propensities(scores, mask, slates, rules)
        chance = (
            _uniform_propensities(mask > 0, slates)
            if rules is None
            else _in_proportion(rules, np.zeros(mask.shape), slates)
        )
        mixed = {k: self.epsilon * chance[k] + (1 - self.epsilon) * base[k] for k in PROPENSITIES}
        if rules is None:
            return mixed
        errors = (
            self.epsilon * chance[ruled.STANDARD_ERROR],
            (1 - self.epsilon) * base[ruled.STANDARD_ERROR],
        )
        return mixed | {ruled.STANDARD_ERROR: np.hypot(*errors)}


@dataclass(frozen=True)
class Explore:
    """Epsilon-greedy in each slot: what most shops run that explore at all.

    From the top, each slot shows the best item not yet shown; with probability epsilon it shows a
    uniform draw from all that is not yet shown instead. An item that exploration has moved up
    leaves its place to the next best. Stages multiply; marginals are exact by a recursion over
    ranks (`exploration_marginals`), because the rule looks at scores through their order alone.
    """

    epsilon: float

    def __post_init__(self) -> None:
        """Check epsilon; raises a UserError."""
        _check_epsilon(self.epsilon)

    @property
    def name(self) -> str:
        """With epsilon."""
        return f"explore(epsilon={self.epsilon:g})"

    def sample(
        self, scores: NDArray[Any], mask: NDArray[Any], slots: int, keys: Keys,
        rules: PageRules | None = None,
    ) -> I64:  # fmt: skip
        """Fill the slots from the top, two coins each."""
        if rules is not None:
            return self._sample_ruled(_sure(scores, mask > 0), keys, rules)
        order, count = _ranking(scores, mask > 0), (mask > 0).sum(axis=1)
        explores = _coins(keys, _EXPLORE, slots) < self.epsilon
        pick = _coins(keys, _PICK, slots)
        places = np.empty((len(order), slots), dtype=np.int64)
        left = np.arange(order.shape[1]) < np.maximum(count, slots)[:, None]
        rows = np.arange(len(order))
        for slot in range(slots):
            drawn = np.where(explores[:, slot], pick[:, slot] * np.maximum(count - slot, 0), 0)
            # The drawn-th place that is left; void slots take the first masked place.
            places[:, slot] = (left.cumsum(axis=1) > drawn.astype(np.int64)[:, None]).argmax(axis=1)
            left[rows, places[:, slot]] = False
        return np.take_along_axis(order, places, axis=1)

    def propensities(
        self, scores: NDArray[Any], mask: NDArray[Any], slates: I64,
        rules: PageRules | None = None,
    ) -> Propensities:  # fmt: skip
        """Return products of stages, and marginals looked up by rank."""
        if rules is not None:
            sure, law = _sure(scores, mask > 0), ruled.greedy_or_any(self.epsilon)
            stages = ruled.stage_chances(rules, slates, sure, law)
            found = ruled.drawn_marginals(rules, slates, sure, law)
            return ruled.bundle(rules, slates, stages, *found)
        slots, count = slates.shape[1], (mask > 0).sum(axis=1)
        ranks = np.argsort(_ranking(scores, mask > 0), axis=1)
        ranks = np.take_along_axis(ranks, slates, axis=1)
        stages, next_best = np.empty(slates.shape), np.zeros(len(slates), dtype=np.int64)
        for slot in range(slots):
            greedy = (ranks[:, slot] == next_best) * (1 - self.epsilon)
            stages[:, slot] = greedy + self.epsilon / np.maximum(count - slot, 1)
            shown = np.sort(ranks[:, : slot + 1], axis=1)
            # The first rank that is missing from those shown so far.
            next_best = (shown == np.arange(slot + 1)).cumprod(axis=1).sum(axis=1)
        stages *= _showable(mask > 0, slates)
        marginals = np.zeros(slates.shape)
        for available in np.unique(count):
            rows, filled = count == available, min(int(available), slots)
            table = exploration_marginals(int(available), filled, self.epsilon)
            padded = np.pad(table, ((0, 0), (0, scores.shape[1] - int(available))))
            marginals[rows, :filled] = padded[np.arange(filled), ranks[rows, :filled]]
        void = _void(mask, slots)
        stages[void], marginals[void] = 1.0, 1.0
        return _bundle(np.cumprod(stages, axis=1), marginals)

    def _sample_ruled(self, scores: F64, keys: Keys, rules: PageRules) -> I64:
        explores = _coins(keys, _EXPLORE, rules.slots) < self.epsilon
        pick = _coins(keys, _PICK, rules.slots)

        def choose(slot: int, allowed: Bools) -> I64:
            anything = allowed.astype(np.float64)
            return np.where(
                explores[:, slot],
                ruled.drawn(anything, pick[:, slot]),
                ruled.best_allowed(scores, allowed).argmax(axis=1),
            )

        return fill(rules, choose)


@lru_cache(maxsize=256)
def exploration_marginals(available: int, slots: int, epsilon: float) -> F64:
    """P(the r-th best stands in slot j) under `Explore`, (k, n) float64; k must not exceed n.

    State: m, the best rank not yet shown. The c = j - m other items shown so far lie below m, and
    only random draws put them there, which treat all ranks below m alike: given (j, m) they are a
    uniform subset of the n - 1 - m ranks below. Hence with f_j(m) = P(state m before slot j)

        P(m in slot j | m) = 1 - epsilon + epsilon / (n - j)
        P(r in slot j | m) = epsilon / (n - j) * (1 - c / (n - 1 - m))      for r below m,

    and showing m moves the state past m and past the shown ranks that follow it without a gap.
    """
    marginals, state = np.zeros((slots, available)), np.zeros(available + 1)
    state[0] = 1.0
    for slot in range(slots):
        chance = epsilon / (available - slot)
        following = np.zeros(available + 1)
        for best in np.flatnonzero(state):
            below, shown = available - 1 - best, slot - best
            free = 1 - shown / below if below else 0.0
            marginals[slot, best] += state[best] * (1 - epsilon + chance)
            marginals[slot, best + 1 :] += state[best] * chance * free
            following[best] += state[best] * chance * (below - shown)
            run = state[best] * (1 - epsilon + chance)
            for step in range(shown + 1):
                # The next rank was shown before: one of the uniform subset.
                again = (shown - step) / (below - step) if shown > step else 0.0
                following[best + 1 + step] += run * (1 - again)
                run *= again
        state = following
    marginals.flags.writeable = False  # cached: nobody may change it
    return marginals


def _in_proportion(rules: PageRules, logits: F64, slates: I64) -> Propensities:
    """Of Plackett-Luce slates under rules: marginals by the race where it is one, else drawn."""
    stages = ruled.stage_chances(rules, slates, logits, ruled.in_proportion)
    marginals, error = np.empty(slates.shape), np.zeros(slates.shape)
    exact = ruled.exact_rows(rules)
    marginals[exact] = ruled.race(rules.rows(exact), logits[exact], slates[exact])
    marginals[~exact], error[~exact] = ruled.drawn_marginals(
        rules.rows(~exact), slates[~exact], logits[~exact], ruled.in_proportion
    )
    return ruled.bundle(rules, slates, stages, marginals, error)


def _sure(scores: NDArray[Any], mask: Bools) -> F64:
    """Scores as comparable numbers, (B, N) float64: minus infinity is before what is masked."""
    return np.where(mask, np.nan_to_num(_checked(scores, mask)), -np.inf)


def _bundle(cascade: NDArray[Any], marginals: F64) -> Propensities:
    whole = np.repeat(cascade[:, -1:], cascade.shape[1], axis=1)
    return dict(zip(PROPENSITIES, (whole, cascade, marginals), strict=True))


def _uniform_propensities(mask: Bools, slates: I64) -> Propensities:
    """Of a slate drawn uniformly: 1 / (n - j) at each stage, 1 / n for an item in a slot."""
    slots, count = slates.shape[1], mask.sum(axis=1, keepdims=True)
    void = _void(mask, slots)
    left = np.maximum(count - np.arange(slots), 1).astype(np.float64)
    stages = _showable(mask, slates) / left
    marginals = np.take_along_axis(mask, slates, axis=1) / np.maximum(count, 1)
    stages[void], marginals[void] = 1.0, 1.0
    return _bundle(np.cumprod(stages, axis=1), marginals)


def _coins(keys: Keys, purpose: int, count: int) -> F64:
    """Uniform numbers (B, count) of a page's key."""
    return uniform(fold(fold(keys, purpose)[:, None], np.arange(count)))


def _checked(scores: NDArray[Any], mask: Bools) -> F64:
    if not (scores[mask] < np.inf).all():
        raise ValueError("scores must be numbers below infinity where the mask allows a candidate")
    return np.asarray(scores, dtype=np.float64)


def _ranking(scores: NDArray[Any], mask: Bools) -> I64:
    """Candidates best first, (B, N): what may be shown before the rest, ties by position."""
    return np.argsort(-_sure(scores, mask), axis=1, kind="stable")


def _void(mask: NDArray[Any], slots: int) -> Bools:
    return np.arange(slots) >= (mask > 0).sum(axis=1, keepdims=True)


def _showable(mask: Bools, slates: I64) -> Bools:
    """True where a slot's candidate is allowed and not shown above it, (B, k)."""
    same = slates[:, :, None] == slates[:, None, :]
    repeated = np.tril(same, -1).any(axis=2)
    return np.take_along_axis(mask, slates, axis=1) & ~repeated


def _check_epsilon(epsilon: float) -> None:
    if not 0 <= epsilon <= 1:
        raise UserError(f"epsilon must lie in [0, 1], but is {epsilon:g}")
