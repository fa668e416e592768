"""Naturalness: can a reader tell the policy's wording from the references'?

A discriminator learns to tell the forms (`rewards.form`) of references from those that the policy
wrote lately; a reason earns its log-odds of being a reference, so the policy is drawn back to how
references are worded wherever it has drifted far enough to be told apart. The idea is that of
generative adversarial nets (Goodfellow et al. 2014) with the discriminator's output as the reward
of a sequence (Yu, Zhang, Wang, Yu 2017, "SeqGAN", equation 4). Ours is a linear model on hashed
n-grams, refitted from scratch every few batches: it cannot be led astray for long, and its state is
a few arrays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from envs.errors import UserError

F32 = NDArray[np.float32]

#: Places that n-grams are hashed to.
FEATURES = 2**14
#: Log-odds beyond this earn and cost no more.
LIMIT = 1.0
#: Batches of policy texts that a fit looks back on, at least.
KEPT = 4
#: Inverse strength of the L2 penalty: rows have length 1, so log-odds stay of order one.
_LOOSENESS = 10.0
#: Fewest texts of either side that a discriminator is fitted to.
FEWEST = 8


def _features(shape: str) -> Iterator[str]:
    """Words, pairs and triples of a form, and the character triples of its longer words."""
    words = shape.split(" ")
    yield from words
    for size in (2, 3):
        yield from (" ".join(words[i : i + size]) for i in range(len(words) - size + 1))
    for word in words:
        if len(word) > 2:
            padded = f"^{word}$"
            yield from (f"~{padded[i : i + 3]}" for i in range(len(padded) - 2))


def _counts(shapes: Sequence[str]) -> Any:
    """Hashed counts of each form, scaled to length 1, (n, FEATURES) sparse float64."""
    hashing = HashingVectorizer(analyzer=_features, n_features=FEATURES, alternate_sign=False)
    return hashing.transform(shapes)


@dataclass(frozen=True)
class Discriminator:
    """A linear judge of forms."""

    #: Weight of each feature, (FEATURES,) float32, and the constant, () float32.
    weights: F32
    constant: F32

    def score(self, shapes: Sequence[str]) -> F32:
        """Log-odds of being a reference rather than the policy's, within +-LIMIT, (n,) float32."""
        if not shapes:
            return np.zeros(0, dtype=np.float32)
        found = _counts(shapes) @ self.weights + self.constant
        return np.clip(found, -LIMIT, LIMIT).astype(np.float32)


def fit(reference: Sequence[str], policy: Sequence[str], rng: np.random.Generator) -> Discriminator:
    """Return the regularised logistic regression that tells two lists of forms apart.

    As many references as policy texts are drawn (all, if there are fewer), and both sides weigh the
    same, so that log-odds of 0 mean "could be either".
    """
    count = min(len(reference), len(policy))
    drawn = [reference[i] for i in rng.choice(len(reference), count, replace=False)]
    labels = np.repeat([1, 0], [count, len(policy)])
    model = LogisticRegression(C=_LOOSENESS, class_weight="balanced", solver="liblinear")
    counts = _counts([*drawn, *policy])
    # So small a fit on several BLAS threads spins: 5 to 40 times the CPU time beside a training.
    with threadpool_limits(1):
        model.fit(counts, labels)
    return Discriminator(model.coef_[0].astype(np.float32), model.intercept_[0].astype(np.float32))


class NaturalnessReward:
    """A discriminator that is kept up to date with what the policy writes."""

    def __init__(self, references: Sequence[str], refit_every: int, seed: int) -> None:
        """Start with no opinion.

        Args:
            references: forms of reference texts.
            refit_every: batches between two fits.
            seed: of the draws of references.

        Raises:
            UserError: for too few references.
        """
        if len(references) < FEWEST:
            raise UserError(
                f"reward.naturalness needs at least {FEWEST} reference texts to compare with, but "
                f"there are {len(references)}: give some, or set reward.naturalness to 0"
            )
        self._references, self._every, self._seed = list(references), refit_every, seed
        self._batches: deque[list[str]] = deque(maxlen=max(KEPT, refit_every))
        self._seen = 0
        self._judge = Discriminator(np.zeros(FEATURES, np.float32), np.zeros((), np.float32))

    def score(self, shapes: Sequence[str]) -> F32:
        """Log-odds of each form being a reference, (n,) float32; 0 before the first fit."""
        return self._judge.score(shapes)

    def learn(self, shapes: Sequence[str]) -> None:
        """Take note of a batch that the policy wrote, and refit when it is time."""
        self._batches.append(list(shapes))
        self._seen += 1
        texts = list(chain.from_iterable(self._batches))
        if self._seen % self._every == 0 and len(texts) >= FEWEST:
            rng = np.random.default_rng([self._seed, self._seen])
            self._judge = fit(self._references, texts, rng)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that changes as arrays that `numpy.savez` writes without pickling."""
        return {
            "weights": self._judge.weights,
            "constant": self._judge.constant,
            "seen": np.array(self._seen),
            "sizes": np.array([len(batch) for batch in self._batches], dtype=np.int64),
            "texts": np.array(list(chain.from_iterable(self._batches)), dtype=np.str_),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._judge = Discriminator(
            np.asarray(state["weights"], np.float32), np.asarray(state["constant"], np.float32)
        )
        self._seen = int(state["seen"])
        texts, ends = state["texts"].tolist(), np.cumsum(state["sizes"]).tolist()
        self._batches.clear()
        self._batches.extend(texts[a:b] for a, b in zip([0, *ends], ends))
