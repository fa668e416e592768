"""What a rule is, and the groups of product classes that several tables of rules share."""

from __future__ import annotations

from dataclasses import dataclass

from envs.importers.icecat_values import Reader

LESS, MORE = -1, 1

UPS = frozenset({"ups & power"})
PRINTING = frozenset({"printers", "scanners"})
INK = frozenset({"toner & ink"})


@dataclass(frozen=True)
class Rule:
    """Keys of one aspect that share a reader."""

    aspect: str
    keys: tuple[str, ...]
    read: Reader
    #: +1 more is better, -1 less is better; only for readings with an amount.
    good: int = 1
    #: Product classes the rule holds for; empty means all.
    only: frozenset[str] = frozenset()
    #: Product classes the rule does not hold for.
    never: frozenset[str] = frozenset()


def rule(
    aspect: str,
    keys: str,
    read: Reader,
    good: int = MORE,
    only: frozenset[str] = frozenset(),
    never: frozenset[str] = frozenset(),
) -> Rule:
    """Build a rule from keys separated by spaces."""
    return Rule(aspect, tuple(keys.split()), read, good, only, never)
