"""How shoppers behave: the shop's equations as pure functions over arrays, and their parameters.

Every function broadcasts; shapes in the docstrings use B sessions, M items and A aspects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from envs.clicks import ClickModelName
from envs.clicks.parameters import ClickParameters
from envs.settings import Settings

F32 = NDArray[np.float32]


class ShopConfig(Settings):
    """The simulated shop: slate, click model, behaviour weights (in logits) and reward weights."""

    click_model: ClickModelName = "position"
    """How a page is read: `position` (many clicks a page) or `cascade` (one at most)."""
    slots: int = Field(5, ge=1)
    """Items shown on a page (k)."""
    candidates: int = Field(20, ge=1)
    """Candidates that a ranker chooses from on each page (N)."""
    max_pages: int = Field(12, ge=1)
    """A session is truncated after this many pages."""
    clicks: ClickParameters = ClickParameters()
    """Parameters of the click model."""

    bias: float = -4.0
    """Attraction of an item that suits in nothing."""
    w_match: float = 2.2
    """Weight of the match of taste and item aspects (cosine, 0 to 1)."""
    w_class: float = 0.7
    """Weight of the shopper's liking of the class (log units)."""
    w_scene: float = 1.5
    """Weight of relevance to the query or to the item looked at (0 to 1)."""
    w_price: float = 0.9
    """Weight of price fit (0 to 1) times the shopper's price sensitivity."""
    w_quality: float = 0.8
    """Weight of quality (0 to 1)."""
    w_satiation: float = 1.4
    """What a fully satiated class loses."""
    w_reason: float = 1.4
    """Weight of persuasion by the reason shown (about -1 to 1)."""
    words_free: int = Field(18, ge=1)
    """Words of a reason that cost nothing (L)."""
    w_dilute: float = Field(0.35, ge=0)
    """How much each claim after the first takes from the attention that the others get."""
    w_length: float = Field(0.5, ge=0)
    """Persuasion lost when a reason is twice as long as `words_free`."""

    buy_bias: float = -3.4
    """Purchase after a click, of an item that suits in nothing."""
    buy_match: float = 2.0
    """Weight of the match in the purchase."""
    buy_price: float = 1.0
    """Weight of price fit in the purchase."""
    buy_quality: float = 1.2
    """Weight of quality in the purchase."""
    buy_lie: float = Field(1.5, ge=0)
    """What each unsupported claim costs once the product page shows the truth."""

    trust_lost: float = Field(0.35, ge=0, le=1)
    """Share of trust lost by a clicked item whose reason made an unsupported claim."""
    trust_won: float = Field(0.06, ge=0, le=1)
    """Share of the missing trust won by a clicked item whose claims all hold."""
    satiation_gain: float = Field(0.35, ge=0)
    """Satiation that a page full of one class adds to it."""
    satiation_decay: float = Field(0.8, ge=0, le=1)
    """Share of satiation that remains on the next page."""
    taste_drift: float = Field(0.1, ge=0, le=1)
    """How far taste moves towards the aspects of a bought item."""

    leave_bias: float = -3.6
    """Leaving after a page, all else zero."""
    leave_no_click: float = 1.2
    """What a page without a click adds."""
    leave_distrust: float = 2.5
    """What distrust (1 - trust) adds."""
    leave_satiation: float = 1.0
    """What the mean satiation of the shown classes adds."""
    leave_impatience: float = 0.25
    """What each page beyond the shopper's patience adds."""

    start_home: float = Field(0.6, ge=0, le=1)
    """Share of sessions that start at home."""
    start_search: float = Field(0.3, ge=0, le=1)
    """Share of sessions that start with a query; the rest starts beside an item."""
    follow_click: float = Field(0.4, ge=0, le=1)
    """Chance that the page after a click shows items similar to the clicked one."""
    new_query: float = Field(0.1, ge=0, le=1)
    """Chance that the next page answers a new query."""

    w_click: float = 0.2
    """Reward of a click."""
    w_buy: float = 1.0
    """Reward of a purchase, in median margins of the catalogue."""
    w_leave: float = 0.5
    """Cost of a shopper who leaves before the session's end."""

    @model_validator(mode="after")
    def _consistent(self) -> ShopConfig:
        if self.slots > self.candidates:
            raise ValueError(
                f"slots ({self.slots}) must not exceed candidates ({self.candidates}); "
                "show fewer or offer more"
            )
        if self.start_home + self.start_search > 1:
            raise ValueError("start_home + start_search must not exceed 1")
        return self


def sigmoid(logit: F32) -> F32:
    """Logistic function without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logit))


def browse_logit(
    config: ShopConfig, match: F32, affinity: F32, relevance: F32, price: F32, quality: F32,
    satiation: F32,
) -> F32:  # fmt: skip
    """Attraction in logits of an item shown without a reason, (B, M); DESIGN section 3.

    ``price`` is price fit times price sensitivity.
    """
    return (
        config.bias
        + config.w_match * match
        + config.w_class * affinity
        + config.w_scene * relevance
        + config.w_price * price
        + config.w_quality * quality
        - config.w_satiation * satiation
    )


def persuasion(config: ShopConfig, trust: F32, liked_claims: F32, claims: F32, words: F32) -> F32:
    """What a reason adds: trust * tanh(liked / diluted) - w_length * max(0, words - L) / L.

    ``liked_claims`` is sum_a tau_a claim_a, and diluted = 1 + w_dilute * max(0, claims - 1): a
    reader's attention is shared by all claims, so a list of everything persuades less than the
    one or two that matter. A claim persuades whether or not it is true: that is the temptation.
    """
    diluted = 1 + np.float32(config.w_dilute) * np.maximum(claims - np.float32(1), np.float32(0))
    excess = np.maximum(words / np.float32(config.words_free) - 1, np.float32(0))
    return trust * np.tanh(liked_claims / diluted) - config.w_length * excess


def purchase_probability(
    config: ShopConfig, match: F32, price: F32, quality: F32, unsupported: F32
) -> F32:
    """Probability that a clicked item is bought; the product page exposes unsupported claims."""
    return sigmoid(
        config.buy_bias
        + config.buy_match * match
        + config.buy_price * price
        + config.buy_quality * quality
        - config.buy_lie * unsupported
    )


def next_trust(config: ShopConfig, trust: F32, lies: F32, kept: F32) -> F32:
    """Trust after ``lies`` clicked items that overclaimed and ``kept`` clicked kept promises."""
    distrust = (1 - trust * (1 - config.trust_lost) ** lies) * (1 - config.trust_won) ** kept
    return np.subtract(1, distrust, dtype=np.float32)


def leave_probability(
    config: ShopConfig, clicked: F32, trust: F32, satiation: F32, impatience: F32
) -> F32:
    """Probability of leaving after a page, (B,)."""
    return sigmoid(
        config.leave_bias
        + config.leave_no_click * (1 - clicked)
        + config.leave_distrust * (1 - trust)
        + config.leave_satiation * satiation
        + config.leave_impatience * impatience
    )
