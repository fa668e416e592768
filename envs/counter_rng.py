"""Counter-based randomness: a uniform number is a pure function of (key, counters).

A session's coin flips depend on its own key only: not on its batch, its row or what other sessions
do. So a batch row equals a single env bit for bit, two policies that show the same item on the same
page meet the same flip (common random numbers), and an env can be cloned without a generator state.

The mixing function is SplitMix64's finaliser (Steele, Lea, Flood 2014, "Fast splittable
pseudorandom number generators", figure 17), applied once for each counter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.compiled import compiled, jittable

Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_ONE, _DROPPED = np.uint64(1), np.uint64(11)


@jittable
def _mix(keys: Any, steps: Any) -> Any:
    """SplitMix64's finaliser of ``keys + steps * golden``, modulo 2^64."""
    mixed = keys + steps * _GOLDEN
    mixed = (mixed ^ (mixed >> _SHIFT_1)) * _MIX_1
    mixed = (mixed ^ (mixed >> _SHIFT_2)) * _MIX_2
    return mixed ^ (mixed >> _SHIFT_3)


@jittable
def uniform(keys: Any) -> Any:
    """Return uniform numbers in [0, 1) with 53 random bits, float64 of the shape of ``keys``."""
    return (keys >> _DROPPED) * 2.0**-53


def fold(keys: Keys, counter: ArrayLike) -> Keys:
    """Return keys that differ for each counter; shapes broadcast, dtype uint64."""
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        return _mix(keys, np.asarray(counter).astype(np.uint64) + _ONE)


def new_keys(rng: np.random.Generator, count: int) -> Keys:
    """Draw ``count`` independent keys, (count,) uint64."""
    return rng.integers(0, 2**64, size=count, dtype=np.uint64)


# The same for one key and one counter, inside kernels.


@jittable
def fold_one(key: Any, counter: Any) -> Any:
    """`fold` of one key and one counter."""
    return _mix(key, np.uint64(counter) + _ONE)


@jittable
def flip(key: Any, page: Any, purpose: Any) -> Any:
    """Uniform number of a session's page for one purpose."""
    return uniform(fold_one(fold_one(key, page), purpose))


@compiled
def fold_each(keys: Any, counters: Any, rows: Any) -> Any:
    """`fold` of the given rows of ``keys`` and ``counters``, without NumPy's call costs."""
    out = np.empty(len(rows), dtype=np.uint64)
    for at in range(len(rows)):
        out[at] = fold_one(keys[rows[at]], counters[rows[at]])
    return out
