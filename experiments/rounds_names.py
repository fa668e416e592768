"""What the stages of a round are called."""

from __future__ import annotations

#: Stages that a round repeats, in order.
REPEATED = ("ppo", "reasons", "rank")


def in_round(name: str, number: int) -> str:
    """Return the name of a stage in a round, counted from 1: ``ppo``, ``ppo2``, ``ppo3``, ...

    A stage that no round repeats keeps its name.
    """
    return f"{name}{number}" if name in REPEATED and number > 1 else name
