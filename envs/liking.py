"""What a shop can expect a shopper to like: learned from all histories, never from hidden taste.

Each item met is a choice, described by what the item is: its aspects, its price band, its class.
`envs.choice_mixture` learns from the choices of all shoppers which kinds of taste there are and how
far people of a kind differ, and so what the history of each tells of what comes next: a short one
tells the kind, a long one the person. What describes items stands in for the items themselves, so
that new ones have a score too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.catalogue import Catalogue
from envs.choice_mixture import Choices, expected_tastes
from envs.shoppers import Profiles, price_fit, price_z

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Middles of the price bands, which overlap, in within-class z-scores of log price.
BANDS = (-1.0, 0.0, 1.0)
#: Kinds of taste that are told apart, at most, and shoppers for each of them, at least. More kinds
#: than there are cost little: people differ within a kind anyway.
_TYPES, _SHOPPERS = 12, 50
#: Directions of taste that are kept. A page holds 20 candidates against them at every step of the
#: shop; what lies beyond the first few is mostly noise of short histories.
_DIRECTIONS = 8
#: Events that a history counts as, at most. The mixture is expanded around the kinds of taste; who
#: met hundreds of items would be taken further from them than that holds.
_MOST = 100.0
#: Items that stand for all that could be chosen, at most.
_STAND_INS = 4096


@dataclass(frozen=True)
class Likes:
    """What is expected of U shoppers, ready to be held against I items (C classes).

    T is the number of directions of taste: 8, or fewer where aspects, items or shoppers are fewer.
    """

    #: Aspects (unit length before) less their mean in the T directions, then price bands less
    #: theirs, (I, T + 3) float32.
    items: F32
    #: Expected weight of each of these in the shopper's choices, and of each class (a logit; 0 over
    #: all of the catalogue), (U, T + 3 + C) float32. The products with ``items`` have a root mean
    #: square of 1 over all shoppers and items, for tastes and for bands.
    shoppers: F32

    def with_average(self) -> Likes:
        """Return the likes with one more shopper, the mean of all: who is not known."""
        mean = self.shoppers.mean(axis=0, keepdims=True, dtype=np.float64)
        return Likes(self.items, np.vstack([self.shoppers, mean.astype(np.float32)]))


def nothing_known(items: int, shoppers: int, classes: int) -> Likes:
    """Return the likes of shoppers of whom nothing is expected: every score is 0."""
    bands = len(BANDS)
    return Likes(
        np.zeros((items, bands), dtype=np.float32),
        np.zeros((shoppers, bands + classes), dtype=np.float32),
    )


def learn_likes(catalogue: Catalogue, profiles: Profiles) -> Likes:
    """Learn from the histories in ``profiles`` what each of its shoppers is expected to like.

    No randomness: the same histories give the same likes.
    """
    traits, classes = _traits(catalogue), len(catalogue.classes)
    share = np.bincount(catalogue.class_index, minlength=classes) / len(traits)
    shoppers = len(profiles.shopper_ids)
    weights = expected_tastes(
        _choices(traits, catalogue.class_index, classes, profiles),
        types=int(np.clip(shoppers // _SHOPPERS, 1, _TYPES)),
    )
    width, aspects = traits.shape[1], traits.shape[1] - len(BANDS)
    pairs = (
        _leading(weights[:, :aspects], traits[:, :aspects]),
        (weights[:, aspects:width], traits[:, aspects:]),
    )
    of_class = weights[:, width:] - weights[:, width:] @ share[:, None]
    items = np.hstack([there for _, there in pairs])
    likes = np.hstack([here / _typical(here, there) for here, there in pairs] + [of_class])
    return Likes(items.astype(np.float32), likes.astype(np.float32))


def _traits(catalogue: Catalogue) -> F64:
    """Aspects of unit length and price bands, each less its mean, (I, A + 3)."""
    x = catalogue.aspect_matrix.astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    bands = price_fit(price_z(catalogue)[:, None].astype(np.float64), np.array(BANDS))
    traits = np.concatenate([x, bands], axis=1)
    return traits - traits.mean(axis=0)


def _choices(traits: F64, class_index: I64, classes: int, profiles: Profiles) -> Choices:
    """Return the histories as choices among items, told by traits and class.

    Each item met is one choice, whatever became of it and however often it was met again.
    """
    shape = (len(profiles.shopper_ids), len(traits))
    met = np.unique(profiles.history_rows * shape[1] + profiles.history_items)
    events = sparse.csr_matrix((np.ones(len(met)), divmod(met, shape[1])), shape)
    counts = np.asarray(events.sum(axis=1)).ravel()
    told = np.minimum(counts, _MOST) / np.maximum(counts, 1)
    kinds = np.eye(classes)
    of_class = sparse.csr_matrix(
        (np.ones(len(traits)), (np.arange(len(traits)), class_index)), (len(traits), classes)
    )
    chosen = np.asarray(events.sum(axis=0)).ravel()
    some, share = _stand_ins(chosen / chosen.sum())
    aspects = traits.shape[1] - len(BANDS)
    return Choices(
        items=np.hstack([traits[some], kinds[class_index[some]]]),
        share=share,
        sums=told[:, None] * np.hstack([events @ traits, (events @ of_class).toarray()]),
        counts=told * counts,
        blocks=np.repeat([0, 1, 2], [aspects, len(BANDS), classes]),
    )


def _stand_ins(share: F64) -> tuple[I64, F64]:
    """Return items that stand for all by their share, with what each stands for.

    All that were met; where those are too many, a systematic sample of them by share.
    """
    met = np.flatnonzero(share)
    if len(met) <= _STAND_INS:
        return met, share[met]
    points = (np.arange(_STAND_INS) + 0.5) / _STAND_INS
    drawn = np.searchsorted(np.cumsum(share), points)
    some, times = np.unique(np.minimum(drawn, len(share) - 1), return_counts=True)
    return some, times / _STAND_INS


def _leading(shoppers: F64, items: F64) -> tuple[F64, F64]:
    """Both sides (U, A) and (I, A) in the T directions that their products live in most.

    The products of what is returned, (U, T) and (I, T), are the best approximation of rank T to
    those of the arguments (Eckart and Young 1936).
    """
    basis, inner = np.linalg.qr(items)
    left, size, right = np.linalg.svd(shoppers @ inner.T, full_matrices=False)
    kept = slice(min(_DIRECTIONS, len(size)))
    return left[:, kept] * size[kept], basis @ right[kept].T


def _typical(shoppers: F64, items: F64) -> float:
    """Root mean square of the products of all U shoppers (U, D) with all I items (I, D)."""
    square = (shoppers.T @ shoppers) * (items.T @ items)
    return float(np.sqrt(max(square.sum() / (len(shoppers) * len(items)), 1e-12)))
