"""The reward of a reason: weighted parts under vetoes, every part kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewards.claims import ClaimChecker, TextClaims, claim_matrix
from rewards.clicks import ClickReward
from rewards.column import finite_column
from rewards.form import forms
from rewards.guards import veto
from rewards.mix_config import RewardConfig
from rewards.naturalness import NaturalnessReward
from rewards.scored import Scored as Scored
from rewards.scored import check_varies
from rewards.style import redundancy, style_penalty
from rewards.variety import VarietyReward

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


class RewardMix:
    """Scores texts for (item, segment) pairs."""

    def __init__(
        self,
        checker: ClaimChecker,
        clicks: ClickReward,
        config: RewardConfig,
        spread: float,
        references: Sequence[tuple[int, str]] = (),
        seed: int = 0,
    ) -> None:
        """Join the parts.

        Args:
            checker: finds claims.
            clicks: the uplift in the shop.
            config: weights; a part of weight 0 is left out.
            spread: the unit that makes rewards of order one (`uplift_spread`).
            references: item index and text of reasons, for naturalness and variety; good
                wording is that of the honest ones.
            seed: of what those draw.

        Raises:
            UserError: for `naturalness` without honest references.
        """
        self.checker, self._clicks, self._config = checker, clicks, config
        self.spread = spread
        shapes: list[str] = []
        if config.naturalness or config.variety:
            checked = [(text, checker.check(item, text)) for item, text in references]
            honest = [(text, found) for text, found in checked if not found.unsupported]
            shapes = forms([text for text, _ in honest], [found for _, found in honest])
        self._natural = (
            NaturalnessReward(shapes, config.refit_every, seed) if config.naturalness else None
        )
        self._variety = VarietyReward(shapes) if config.variety else None

    def score(
        self, items: Sequence[int] | I64, segments: Sequence[int] | I64, texts: Sequence[str]
    ) -> Scored:
        """Return the rewards of n texts for items and segments given by index.

        Texts of one call are a batch: the part ``variety`` compares them with each other.

        Raises:
            UserError: for a part that is not finite.
        """
        checked = [self.checker.check(int(item), text) for item, text in zip(items, texts)]
        claims, unsupported, words = claim_matrix(checked, self.checker.n_aspects)
        uplift = self._clicks.score(
            np.asarray(items), np.asarray(segments), claims, unsupported, words
        )
        vetoes = [veto(text, found) for text, found in zip(texts, checked)]
        parts = {
            "clicks": uplift / np.float32(self.spread),
            "style": -np.float32(self._config.style) * (style_penalty(texts) + redundancy(checked)),
            **self._worded(texts, checked),
        }
        for name, values in parts.items():
            finite_column(
                values, f"reward part {name!r}", len(texts), "reasons",
                lambda row: f"reason {row} of {len(texts)}",
            )  # fmt: skip
        vetoed = np.array([reason is not None for reason in vetoes], dtype=bool)
        total = np.where(vetoed, -self._config.veto, sum(parts.values()))
        return Scored(
            total=total.astype(np.float32),
            uplift=np.where(vetoed, 0, uplift).astype(np.float32),
            vetoes=vetoes,
            checked=checked,
            parts=parts,
        )

    def learn(
        self, items: Sequence[int] | I64, segments: Sequence[int] | I64, texts: Sequence[str]
    ) -> Scored:
        """Return `score` of a batch that the policy in training wrote, and take note of it.

        Naturalness and variety follow the policy; what was vetoed is left out, since it is never
        shown.

        Raises:
            UserError: as `score`, and for a large batch from which nothing can be learned.
        """
        scored = self.score(items, segments, texts)
        check_varies(scored)
        if self._natural is not None or self._variety is not None:
            kept = [n for n, why in enumerate(scored.vetoes) if why is None]
            shapes = forms([texts[n] for n in kept], [scored.checked[n] for n in kept])
            for part in (self._natural, self._variety):
                if part is not None:
                    part.learn(shapes)
        return scored

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `learn` has changed, as arrays for `numpy.savez`; {} where nothing learns."""
        return {
            f"{name}.{key}": array
            for name, part in self._learners().items()
            for key, array in part.state().items()
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned under the same configuration."""
        for name, part in self._learners().items():
            own = f"{name}."
            part.load({k.removeprefix(own): v for k, v in state.items() if k.startswith(own)})

    def _learners(self) -> dict[str, NaturalnessReward | VarietyReward]:
        both = {"naturalness": self._natural, "variety": self._variety}
        return {name: part for name, part in both.items() if part is not None}

    def _worded(self, texts: Sequence[str], checked: Sequence[TextClaims]) -> dict[str, F32]:
        """Return the parts that judge the wording, as far as they are asked for."""
        if self._natural is None and self._variety is None:
            return {}
        shapes, found = forms(texts, checked), {}
        if self._natural is not None:
            weight = np.float32(self._config.naturalness)
            found["naturalness"] = weight * self._natural.score(shapes)
        if self._variety is not None:
            found["variety"] = -np.float32(self._config.variety) * self._variety.wear(shapes)
        return found


def uplift_spread(
    clicks: ClickReward, aspects: F32, segments: int, rng: np.random.Generator
) -> float:
    """Standard deviation of the uplift of true one-fact reasons over random items and segments.

    ``aspects`` is the catalogue's aspect matrix (I, A). It depends on the shop alone, so that a
    reward means the same whatever model is trained.
    """
    count = 2048
    items = rng.integers(len(aspects), size=count)
    claims = np.zeros((count, aspects.shape[1]), dtype=np.float32)
    held = aspects[items] > 0
    chosen = (rng.random(held.shape) * held).argmax(axis=1)
    claims[np.arange(count), chosen] = held.any(axis=1)
    ones = np.ones(count, dtype=np.float32)
    uplift = clicks.score(items, rng.integers(segments, size=count), claims, 0 * ones, 10 * ones)
    return max(float(uplift.std()), 1e-9)
