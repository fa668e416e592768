"""A shop small enough to enumerate: 4 items, 2 slots, Plackett-Luce policies, all 12 slates."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

ITEMS, SLOTS = 4, 2
SLATES = np.array(list(itertools.permutations(range(ITEMS), SLOTS)))
LOGGING = np.array([0.3, -0.4, 0.9, 0.1])
TARGET = np.array([-0.5, 1.1, 0.2, 0.6])


def cascade(scores: np.ndarray) -> np.ndarray:
    """Return P(a_1..a_l) of each slate, ``(12, 2)``, drawing without replacement by exp(score)."""
    strength = np.exp(scores)
    first = strength[SLATES[:, 0]] / strength.sum()
    second = strength[SLATES[:, 1]] / (strength.sum() - strength[SLATES[:, 0]])
    return np.stack([first, first * second], axis=1)


def marginal(scores: np.ndarray) -> np.ndarray:
    """Return P(item of this slate at this position), ``(12, 2)``, by summing over all slates."""
    whole = cascade(scores)[:, -1]
    same = SLATES[:, None, :] == SLATES[None, :, :]
    return (same * whole[None, :, None]).sum(axis=1)


def log_of_all(reward: np.ndarray, **columns: np.ndarray) -> pd.DataFrame:
    """Return a log that holds each of the 12 slates once; ``reward`` and columns are (12, 2)."""
    grids = {"reward": reward, "item_id": SLATES, **columns}
    for prefix, scores in (("", LOGGING), ("eval_", TARGET)):
        stages = cascade(scores)
        grids[f"{prefix}pscore"] = np.repeat(stages[:, -1:], SLOTS, axis=1)
        grids[f"{prefix}pscore_cascade"] = stages
        grids[f"{prefix}pscore_item_position"] = marginal(scores)
    frame = pd.DataFrame({name: grid.ravel() for name, grid in grids.items()})
    frame.insert(0, "position", np.tile(np.arange(SLOTS), len(SLATES)))
    frame.insert(0, "slate_id", np.repeat(np.arange(len(SLATES)), SLOTS))
    return frame


def sample_log(
    slates: int, expected: np.ndarray, rng: np.random.Generator, **columns: np.ndarray
) -> pd.DataFrame:
    """Draw ``slates`` slates from the logging policy, with 0/1 rewards of the expected values."""
    chosen = rng.choice(len(SLATES), size=slates, p=cascade(LOGGING)[:, -1])
    rows = (chosen[:, None] * SLOTS + np.arange(SLOTS)).ravel()
    frame = log_of_all(expected, **columns).iloc[rows].reset_index(drop=True)
    frame["slate_id"] = np.repeat(np.arange(slates), SLOTS)
    frame["reward"] = (rng.random(len(frame)) < frame["reward"]).astype(float)
    return frame


def truth(expected: np.ndarray, scores: np.ndarray = TARGET) -> float:
    """Return a policy's value by enumeration of ``expected (12, 2)``, the mean rewards."""
    return float(cascade(scores)[:, -1] @ expected.sum(axis=1))
