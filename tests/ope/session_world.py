"""Sessions small enough to enumerate: 2 states, 2 actions, at most 3 steps, any may be the last."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

STATES, ACTIONS, STEPS = 2, 2, 3
LOGGING = np.array([[0.7, 0.3], [0.4, 0.6]])
TARGET = np.array([[0.2, 0.8], [0.5, 0.5]])
#: Mean reward of an action in a state.
REWARD = np.array([[0.1, 0.7], [0.6, 0.2]])
#: P(next state, or the end as the third | state, action).
NEXT = np.array([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]], [[0.4, 0.4, 0.2], [0.3, 0.1, 0.6]]])
END = STATES


def q_values(policy: np.ndarray = TARGET) -> np.ndarray:
    """Return Q_t(s, a), ``(STEPS, STATES, ACTIONS)``: expected reward to go, by recursion."""
    q = np.zeros((STEPS + 1, STATES, ACTIONS))
    for t in range(STEPS - 1, -1, -1):
        after = np.append((policy * q[t + 1]).sum(axis=1), 0.0)
        q[t] = REWARD + NEXT @ after
    return q[:STEPS]


def truth(policy: np.ndarray = TARGET) -> float:
    """Return the expected reward of a session, which starts in state 0."""
    return float(policy[0] @ q_values(policy)[0, 0])


def paths() -> list[tuple[list[int], list[int], float]]:
    """Return every session: states, actions, and its probability less that of the actions."""
    found = []
    for length in range(1, STEPS + 1):
        for states in itertools.product(range(STATES), repeat=length - 1):
            for actions in itertools.product(range(ACTIONS), repeat=length):
                visited = [0, *states]
                chance = 1.0
                for t in range(1, length):
                    chance *= NEXT[visited[t - 1], actions[t - 1], visited[t]]
                if length < STEPS:
                    chance *= NEXT[visited[-1], actions[-1], END]
                found.append((visited, list(actions), chance))
    return found


def frame_of(session: np.ndarray, step: np.ndarray, state: np.ndarray, action: np.ndarray,
             reward: np.ndarray) -> pd.DataFrame:  # fmt: skip
    """Return a log of slates of one, with exact propensities."""
    return pd.DataFrame(
        {
            "slate_id": np.arange(len(session)),
            "session_id": session,
            "step": step,
            "position": 0,
            "item_id": action,
            "state": state,
            "reward": reward,
            "pscore": LOGGING[state, action],
            "eval_pscore": TARGET[state, action],
        }
    )


def log_of_all() -> tuple[pd.DataFrame, np.ndarray]:
    """Return every session once, with mean rewards, and its probability in the log."""
    columns: list[list[int]] = [[], [], [], []]
    probability = []
    for number, (states, actions, chance) in enumerate(paths()):
        for column, values in zip(columns, ([number] * len(states), range(len(states)), states,
                                            actions)):  # fmt: skip
            column.extend(values)
        probability.append(chance * float(np.prod(LOGGING[states, actions])))
    session, step, state, action = map(np.array, columns)
    return frame_of(session, step, state, action, REWARD[state, action]), np.array(probability)


def sample_log(sessions: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw sessions from the logging policy, with 0/1 rewards."""
    state, rows = np.zeros(sessions, dtype=int), np.arange(sessions)
    parts = []
    for t in range(STEPS):
        action = (rng.random(len(rows)) >= LOGGING[state, 0]).astype(int)
        reward = (rng.random(len(rows)) < REWARD[state, action]).astype(float)
        parts.append(frame_of(rows, np.full(len(rows), t), state, action, reward))
        after = (rng.random(len(rows))[:, None] > NEXT[state, action].cumsum(axis=1)).sum(axis=1)
        state, rows = after[after != END], rows[after != END]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(slate_id=np.arange(len(frame)))


def with_model(frame: pd.DataFrame, q: np.ndarray) -> pd.DataFrame:
    """Add the model ``q (STEPS, STATES, ACTIONS)`` with its lawful v."""
    v = (TARGET * q).sum(axis=2)
    where = frame["step"].to_numpy(), frame["state"].to_numpy()
    return frame.assign(q_hat_session=q[(*where, frame["item_id"].to_numpy())],
                        v_hat_session=v[where])  # fmt: skip
