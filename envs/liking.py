"""What a shop can expect a shopper to like: learned from all histories, never from hidden taste.

Each item met is an event, described by what the item is: the surplus of its aspects within its
class, its price band, its class. What a shopper meets next is predicted from what they met before,
by one ridge regression over all shoppers: each event on the mean of the same shopper's *other*
events. Leaving the event itself out is what makes the weights say how much a history tells of the
next event, and not how much it tells of itself (Steck 2019, "Embarrassingly shallow autoencoders
for sparse data", does so with items where this does with what describes them, so that new items
have a score too).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.catalogue import Catalogue
from envs.shoppers import Profiles, price_fit, price_z

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Middles of the price bands, which overlap, in within-class z-scores of log price.
BANDS = (-1.0, 0.0, 1.0)
#: A history of so many events counts half: the rest of it is chance.
_HALF_KNOWN = 10.0
#: Ridge penalty on standardised predictors: a share of the events, and so many events more, so that
#: a few histories are not read as a rule.
_PENALTY, _FEW = 0.03, 100.0
#: Share added to those of a class before they are divided, so that no class is out of the question.
_UNMET = 0.01
#: Directions of taste that are kept. A page holds 20 candidates against them at every step of the
#: shop; what lies beyond the first few is mostly noise of short histories.
_DIRECTIONS = 8
#: Events described at a time, which bounds memory.
_CHUNK = 65_536


@dataclass(frozen=True)
class Likes:
    """What is expected of U shoppers, ready to be held against I items (C classes).

    T is the number of directions of taste: 8, or fewer where aspects, items or shoppers are fewer.
    """

    #: Surplus of the aspects (unit length before) within the class in the T directions, then price
    #: bands less their mean, (I, T + 3) float32.
    items: F32
    #: What the next item is expected to have of these, and the log of each class's expected share
    #: over its share of the catalogue, (U, T + 3 + C) float32. The products with ``items`` have a
    #: root mean square of 1 over all shoppers and items, for tastes and for bands.
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
    traits, classes = _traits(catalogue), catalogue.class_index
    share = np.bincount(classes, minlength=len(catalogue.classes)) / len(classes)
    expected = _expected(_Events(traits, classes, len(share), _items_met(profiles)))
    width, aspects = traits.shape[1], traits.shape[1] - len(BANDS)
    bands, level = slice(aspects, width), traits[:, aspects:].mean(axis=0)
    pairs = (
        _leading(expected[:, :aspects], traits[:, :aspects]),
        (expected[:, bands] - level, traits[:, bands] - level),
    )
    lift = (np.maximum(expected[:, width:], 0) + _UNMET) / (share + _UNMET)
    items = np.hstack([there for _, there in pairs])
    shoppers = np.hstack([here / _typical(here, there) for here, there in pairs] + [np.log(lift)])
    return Likes(items.astype(np.float32), shoppers.astype(np.float32))


def _leading(shoppers: F64, items: F64) -> tuple[F64, F64]:
    """Both sides (U, A) and (I, A) in the T directions that their products live in most.

    The products of what is returned, (U, T) and (I, T), are the best approximation of rank T to
    those of the arguments (Eckart and Young 1936).
    """
    basis, inner = np.linalg.qr(items)
    left, size, right = np.linalg.svd(shoppers @ inner.T, full_matrices=False)
    kept = slice(min(_DIRECTIONS, len(size)))
    return left[:, kept] * size[kept], basis @ right[kept].T


def _traits(catalogue: Catalogue) -> F64:
    """Aspect surplus of unit vectors within the class, and price bands, (I, A + 3)."""
    x = catalogue.aspect_matrix.astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    classes, count = catalogue.class_index, len(catalogue.classes)
    mean = np.zeros((count, x.shape[1]))
    np.add.at(mean, classes, x)
    mean /= np.maximum(np.bincount(classes, minlength=count), 1)[:, None]
    bands = price_fit(price_z(catalogue)[:, None].astype(np.float64), np.array(BANDS))
    return np.concatenate([x - mean[classes], bands], axis=1)


@dataclass(frozen=True)
class _Events:
    """The events of all histories, described chunk by chunk."""

    traits: F64
    classes: I64
    n_classes: int
    profiles: Profiles

    def described(self) -> Iterator[tuple[I64, F64, F64]]:
        """Yield shopper rows (n,), weights (n,) and what was met (n, D), D = A + 3 + C."""
        known = self.profiles
        width = self.traits.shape[1]
        for start in range(0, len(known.history_rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            items = known.history_items[part]
            met = np.zeros((len(items), width + self.n_classes))
            met[:, :width] = self.traits[items]
            met[np.arange(len(items)), width + self.classes[items]] = 1
            yield known.history_rows[part], known.history_weights[part].astype(np.float64), met


def _items_met(profiles: Profiles) -> Profiles:
    """Return profiles with one event an item met, in a fixed order.

    Meeting an item again says little about the next one. A bundle keeps histories in this form and
    must answer as the shop does, to the last bit; so the sums here are those of the bundle.
    """
    shape = (len(profiles.shopper_ids), int(profiles.history_items.max(initial=0)) + 1)
    triples = (profiles.history_weights, (profiles.history_rows, profiles.history_items))
    met = sparse.csr_matrix(sparse.csr_matrix(triples, shape=shape))
    met.sort_indices()
    rows = np.repeat(np.arange(shape[0]), np.diff(met.indptr))
    return replace(
        profiles, history_rows=rows, history_items=met.indices.astype(np.int64),
        history_weights=met.data,
    )  # fmt: skip


def _expected(events: _Events) -> F64:
    """Expected description of each shopper's next event, (U, D)."""
    rows, weights = events.profiles.history_rows, events.profiles.history_weights
    shoppers, width = len(events.profiles.shopper_ids), events.traits.shape[1] + events.n_classes
    past = np.zeros((shoppers, width))
    for row, weight, met in events.described():
        np.add.at(past, row, weight[:, None] * met)
    # Kish's effective number of events: three views tell more than a purchase that counts as three.
    count = 1 / np.maximum(np.bincount(rows, weights.astype(np.float64) ** 2, shoppers), 1e-9)
    mean = past.mean(axis=0)
    spread = np.maximum(past.std(axis=0), 1e-6)

    inner, cross, told = np.zeros((width, width)), np.zeros((width, width)), 0
    for row, weight, met in events.described():
        kept = weight < 0.999  # of a single event nothing is left to predict it from
        row, weight, met = row[kept], weight[kept], met[kept]
        others = (past[row] - weight[:, None] * met) / (1 - weight)[:, None]
        before = (others - mean) / spread * _belief(count[row] - 1)[:, None]
        inner += before.T @ before
        cross += before.T @ (met - mean)
        told += len(row)
    inner[np.diag_indices(width)] += _PENALTY * told + _FEW
    slope = np.linalg.solve(inner, cross)
    return mean + ((past - mean) / spread * _belief(count)[:, None]) @ slope


def _belief(events: F64) -> F64:
    """Share of a history's deviation that is believed, by its number of events, in [0, 1)."""
    return events / (events + _HALF_KNOWN)


def _typical(shoppers: F64, items: F64) -> float:
    """Root mean square of the products of all U shoppers (U, D) with all I items (I, D)."""
    square = (shoppers.T @ shoppers) * (items.T @ items)
    return float(np.sqrt(max(square.sum() / (len(shoppers) * len(items)), 1e-12)))
