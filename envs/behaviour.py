"""How shoppers behave: the shop's equations as pure functions, and their parameters.

Every function broadcasts over arrays; shapes in the docstrings use B sessions, M items and A
aspects. The same source is compiled into the shop's kernels (`envs.kernels`), where arguments are
single numbers and ``config`` is what `packed` returns: an equation stands here and nowhere else.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from envs.clicks import ClickModelName
from envs.clicks.parameters import ClickParameters
from envs.compiled import jittable
from envs.settings import Settings

#: float32 arrays of any shape; in kernels, single numbers.
Values = Any


class ShopConfig(Settings):
    """The simulated shop: slate, click model, behaviour weights (in logits) and reward weights."""

    click_model: ClickModelName = "position"
    """How a page is read: the name of a click model (`envs/clicks/`), for example `position` (many
    clicks a page) or `cascade` (one at most)."""
    reasons: Literal["book", "choice", "none"] = "book"
    """Who chooses the reason beside an item: the `book` by segment, the agent's `choice` among the
    world's variants, or nobody (`none`: no reason is shown)."""
    slots: int = Field(5, ge=1)
    """Items shown on a page (k)."""
    candidates: int = Field(20, ge=1)
    """Candidates that a ranker chooses from on each page (N)."""
    max_pages: int = Field(12, ge=1)
    """A session is truncated after this many pages, those of all its visits together."""
    clicks: ClickParameters = ClickParameters()
    """Parameters of the click model."""

    bias: float = -5.3
    """Attraction of an item that suits in nothing."""
    w_match: float = 2.2
    """Weight of the match of taste and item aspects (cosine, 0 to 1)."""
    w_class: float = 0.7
    """Weight of the shopper's liking of the class (log units)."""
    w_scene: float = 1.5
    """Weight of relevance to the query or to the item looked at (0 to 1)."""
    w_search: float = Field(2.75, ge=0)
    """What relevance weighs more in search: who typed a query passes over what does not answer it.
    With `w_scene` it is 4.25 logits from irrelevant to relevant, the middle of two users by whom
    search is simulated (Hofmann, Whiteson, de Rijke 2013, Information Retrieval 16): an
    informational one (clicks 0.4 to 0.9, 2.6 logits), a navigational one (0.05 to 0.95, 5.9)."""
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

    buy_bias: float = -6.1
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

    multi_visit: bool = False
    """Whether a shopper who left may come back within the session, after some days away."""
    max_visits: int = Field(5, ge=1)
    """With `multi_visit`: a shopper who would come back for one visit more is cut off."""
    horizon_days: int = Field(30, ge=1)
    """With `multi_visit`: who is not back this many days after the first visit never is."""
    return_bias: float = -5.5
    """Coming back on a day away (logit of the daily chance), all else zero."""
    return_click: float = 0.5
    """What the clicks of the last visit add, times log(1 + clicks)."""
    return_buy: float = 0.8
    """What a purchase in the last visit adds."""
    return_trust: float = 2.0
    """What trust (0 to 1) at the end of the last visit adds."""
    satiation_overnight: float = Field(0.85, ge=0, le=1)
    """Share of satiation that remains after a day away."""

    w_click: float = 0.2
    """Reward of a click."""
    w_buy: float = 1.0
    """Reward of a purchase, in median margins of the catalogue."""
    w_leave: float = 0.1
    """Cost of a shopper who leaves, whether or not they come back."""

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


#: Settings that are not numbers: kernels get what follows from them in another form.
_NO_NUMBERS = ("click_model", "reasons", "clicks")
_NUMBERS = tuple(name for name in ShopConfig.model_fields if name not in _NO_NUMBERS)


def packed(config: ShopConfig) -> NDArray[np.record]:
    """Return the numbers of ``config`` as one record, (1,): what kernels take for a `ShopConfig`.

    ``record.bias`` reads like ``config.bias``, and handing it over costs as much as one array.
    """
    kinds = np.dtype((np.record, [(name, np.float64) for name in _NUMBERS]))
    return np.array([tuple(float(getattr(config, name)) for name in _NUMBERS)], kinds)


@jittable
def sigmoid(logit: Values) -> Values:
    """Logistic function without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logit))


@jittable
def cosine(dot: Values, norms: Values) -> Values:
    """Cosine from a dot product and the product of the two norms; 0 beside a zero vector."""
    return dot / np.maximum(norms, 1e-6)


@jittable
def price_fit(z: Values, point: Values) -> Values:
    """How well a price suits: 1 at the preferred within-class z-score, towards 0 away from it."""
    return np.exp(-0.5 * (z - point) ** 2)


@jittable
def answering(relevance: Values) -> Values:
    """How much better an item answers a query than search pages do.

    These have a relevance of about 3/4 under the similarity shelf: a search gets as many clicks as
    it would if `ShopConfig.w_search` were 0, on other items.
    """
    return relevance - np.float32(0.75)


@jittable
def browse_logit(
    config: ShopConfig, match: Values, affinity: Values, relevance: Values, answer: Values,
    price: Values, quality: Values, satiation: Values,
) -> Values:  # fmt: skip
    """Attraction in logits of an item shown without a reason, (B, M); DESIGN section 3.

    ``answer`` is what `answering` says in a search, and 0 elsewhere. ``price`` is price fit times
    price sensitivity.
    """
    return (
        config.bias
        + config.w_match * match
        + config.w_class * affinity
        + config.w_scene * relevance
        + config.w_search * answer
        + config.w_price * price
        + config.w_quality * quality
        - config.w_satiation * satiation
    )


@jittable
def persuasion(
    config: ShopConfig, trust: Values, liked_claims: Values, claims: Values, words: Values
) -> Values:
    """What a reason adds: trust * tanh(liked / diluted) - w_length * max(0, words - L) / L.

    ``liked_claims`` is sum_a tau_a claim_a, and diluted = 1 + w_dilute * max(0, claims - 1): a
    reader's attention is shared by all claims, so a list of everything persuades less than the
    one or two that matter. A claim persuades whether or not it is true: that is the temptation.
    """
    diluted = 1 + np.float32(config.w_dilute) * np.maximum(claims - np.float32(1), np.float32(0))
    excess = np.maximum(words / np.float32(config.words_free) - 1, np.float32(0))
    return trust * np.tanh(liked_claims / diluted) - config.w_length * excess


@jittable
def purchase_logit(
    config: ShopConfig, match: Values, price: Values, quality: Values, unsupported: Values
) -> Values:
    """Logit of `purchase_probability`."""
    return (
        config.buy_bias
        + config.buy_match * match
        + config.buy_price * price
        + config.buy_quality * quality
        - config.buy_lie * unsupported
    )


@jittable
def purchase_probability(
    config: ShopConfig, match: Values, price: Values, quality: Values, unsupported: Values
) -> Values:
    """Probability that a clicked item is bought; the product page exposes unsupported claims."""
    return sigmoid(purchase_logit(config, match, price, quality, unsupported))


@jittable
def next_trust(config: ShopConfig, trust: Values, lies: Values, kept: Values) -> Values:
    """Trust after ``lies`` clicked items that overclaimed and ``kept`` clicked kept promises."""
    return 1 - (1 - trust * (1 - config.trust_lost) ** lies) * (1 - config.trust_won) ** kept


@jittable
def leave_probability(
    config: ShopConfig, clicked: Values, trust: Values, satiation: Values, impatience: Values
) -> Values:
    """Probability of leaving after a page, (B,)."""
    return sigmoid(
        config.leave_bias
        + config.leave_no_click * (1 - clicked)
        + config.leave_distrust * (1 - trust)
        + config.leave_satiation * satiation
        + config.leave_impatience * impatience
    )


@jittable
def return_probability(
    config: ShopConfig, clicks: Values, purchases: Values, trust: Values
) -> Values:
    """Chance of coming back on each day away, by how the last visit went, (B,).

    ``clicks`` and ``purchases`` are counts of that visit, ``trust`` is how it ended. The hazard of
    return is taken as constant over the days, the simplest of the hazard models of return time
    (Kapoor, Sun, Srivastava, Ye 2014, "A hazard based approach to user return time prediction").
    """
    return sigmoid(
        config.return_bias
        + config.return_click * np.log1p(clicks)
        + config.return_buy * purchases
        + config.return_trust * trust
    )


@jittable
def days_until(chance: Values, draw: Values) -> Values:
    """Days away, a whole number of at least 1, from a uniform draw in [0, 1), (B,) float64.

    Geometric: P(gap = d) = chance * (1 - chance)^(d - 1), by inversion, so that a higher chance
    never means a longer gap for the same draw.
    """
    never = np.float64(1e-12)  # keeps both logarithms finite
    stay = np.log1p(-np.minimum(np.maximum(chance, never), 1 - never))
    return 1 + np.floor(np.log1p(-draw) / stay)
