"""Counter-based randomness: a uniform number is a pure function of (key, counters).

A session's coin flips depend on its own key only: not on its batch, its row or what other sessions
do. So a batch row equals a single env bit for bit, two policies that show the same item on the same
page meet the same flip (common random numbers), and an env can be cloned without a generator state.

The mixing function is SplitMix64's finaliser (Steele, Lea, Flood 2014, "Fast splittable
pseudorandom number generators", figure 17), applied once for each counter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def fold(keys: Keys, counter: ArrayLike) -> Keys:
    """Return keys that differ for each counter; shapes broadcast, dtype uint64."""
    steps = np.asarray(counter).astype(np.uint64) + np.uint64(1)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is the point
        mixed = keys + steps * _GOLDEN
        mixed = (mixed ^ (mixed >> _SHIFTS[0])) * _MIX_1
        mixed = (mixed ^ (mixed >> _SHIFTS[1])) * _MIX_2
        return mixed ^ (mixed >> _SHIFTS[2])


def uniform(keys: Keys) -> NDArray[np.float64]:
    """Return uniform numbers in [0, 1) with 53 random bits, of the shape of ``keys``."""
    return np.multiply(keys >> np.uint64(11), 2.0**-53, dtype=np.float64)


def new_keys(rng: np.random.Generator, count: int) -> Keys:
    """Draw ``count`` independent keys, (count,) uint64."""
    return rng.integers(0, 2**64, size=count, dtype=np.uint64)
