"""A bandit small enough to enumerate: 3 contexts, 6 actions in 3 clusters of 2."""

from __future__ import annotations

import numpy as np
import pandas as pd

CONTEXTS, ACTIONS = 3, 6
CLUSTER = np.array([0, 0, 1, 1, 2, 2])
_RNG = np.random.default_rng(20)
CHANCE = np.array([0.5, 0.3, 0.2])
LOGGING = _RNG.dirichlet(np.full(ACTIONS, 3.0), size=CONTEXTS)
TARGET = _RNG.dirichlet(np.full(ACTIONS, 1.0), size=CONTEXTS)
#: Mean rewards: by action, and with no difference inside a cluster.
BY_ACTION = _RNG.random((CONTEXTS, ACTIONS))
BY_CLUSTER = _RNG.random((CONTEXTS, 3))[:, CLUSTER]


def truth(expected: np.ndarray, policy: np.ndarray = TARGET) -> float:
    """Return a policy's value under mean rewards ``expected (CONTEXTS, ACTIONS)``."""
    return float(CHANCE @ (policy * expected).sum(axis=1))


def log_at(context: np.ndarray, action: np.ndarray, reward: np.ndarray) -> pd.DataFrame:
    """Return a bandit log with exact propensities of actions and clusters."""
    same = CLUSTER[action][:, None] == CLUSTER
    return pd.DataFrame(
        {
            "slate_id": np.arange(len(action)),
            "position": 0,
            "item_id": action,
            "context": context,
            "reward": reward,
            "pscore": LOGGING[context, action],
            "eval_pscore": TARGET[context, action],
            "pscore_cluster": (LOGGING[context] * same).sum(axis=1),
            "eval_pscore_cluster": (TARGET[context] * same).sum(axis=1),
        }
    )


def log_of_all(expected: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    """Return each context and action once with its mean reward, and its probability in the log."""
    context, action = np.divmod(np.arange(CONTEXTS * ACTIONS), ACTIONS)
    frame = log_at(context, action, expected[context, action])
    return frame, CHANCE[context] * LOGGING[context, action]


def sample_log(rows: int, expected: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Draw rows from the logging policy, with 0/1 rewards."""
    context = rng.choice(CONTEXTS, size=rows, p=CHANCE)
    action = (rng.random(rows)[:, None] > LOGGING[context].cumsum(axis=1)).sum(axis=1)
    action = np.minimum(action, ACTIONS - 1)
    return log_at(context, action, (rng.random(rows) < expected[context, action]).astype(float))


def with_model(frame: pd.DataFrame, q: np.ndarray, suffix: str = "") -> pd.DataFrame:
    """Add the model ``q (CONTEXTS, ACTIONS)`` with its lawful v."""
    context = frame["context"].to_numpy()
    return frame.assign(
        **{
            f"q_hat{suffix}": q[context, frame["item_id"].to_numpy()],
            f"v_hat{suffix}": (TARGET * q).sum(axis=1)[context],
        }
    )
