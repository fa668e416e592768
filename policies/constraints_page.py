"""Slates under rules: slot by slot, what would make the rest impossible may not be chosen.

Greedy constrained decoding. On a page, R slots are still to be filled, D groups (classes or brands)
and E new items are still to come, and a group takes at most c items. With u_g = c minus what stands
of group g, a_g new ones left in it, P and Q untouched groups with and without a new item left, and
M = sum_g min(a_g, u_g), the slate can be completed if and only if

    D <= min(R, P + Q)    and    E <= min(M, R - max(0, D - P)),

given that the groups hold R items at all (sum_g min(left_g, u_g) >= R): D - P groups can only be
opened by an item that is not new, every other slot may hold a new one, and a partition matroid
extends what was chosen to R items. So a candidate is allowed in a slot if its group has room and
the two inequalities still hold after it: exact, and a few array operations a slot. Rules over two
groupings at once (class and brand) would need a flow for each candidate instead; there is one.

Where the page itself cannot keep the rules, `page_rules` lowers what is asked just as far as
needed, in this order: new items, groups, limit of a group. Pins stand before all of these, filters
before the pins. What is allowed only shrinks from slot to slot, apart from pins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs import sessions
from envs.sessions import SessionState
from envs.world import World
from policies.constraints import ShelfRules, rules_of

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class PageRules:
    """The rules on B pages of N candidates and k slots; every array has B rows."""

    #: 1 where a candidate passes the shop's mask and the filters, (B, N) float32. A page where
    #: nothing passes keeps the shop's mask: something must be shown.
    mask: F32
    #: The first candidate of the same group, (B, N) int64.
    group: I64
    #: (B, N) bool.
    new: Bools
    #: Candidate that must stand in a slot, -1 where any may, (B, k) int64.
    pinned: I64
    #: Most items of a group, groups and new items of a slate at least, pins included: as far as
    #: the page can keep them, (B,) int64.
    limit: I64
    groups: I64
    fresh: I64
    #: What had to give way, (B,) bool, in the order in which it does.
    fewer_new: Bools
    fewer_groups: Bools
    limit_raised: Bools
    #: A pinned item that is no candidate of the page, or filtered, (B, k) bool.
    unpinned: Bools

    def rows(self, rows: Any) -> PageRules:
        """Return the rules of some pages, each as often as it is named."""
        return PageRules(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def slots(self) -> int:
        """Slate length k."""
        return self.pinned.shape[1]


def page_rules(rules: ShelfRules, items: I64, mask: NDArray[Any], slots: int) -> PageRules:
    """Lay the rules out over pages, as far as each page can keep them.

    Args:
        rules: of the catalogue.
        items: item index of each candidate, (B, N) int64, distinct on each page.
        mask: above 0 where the shop lets a candidate be shown, (B, N).
        slots: slate length k.
    """
    allowed = (mask > 0) & rules.showable[items]
    nothing = ~allowed.any(axis=1)
    allowed[nothing] = mask[nothing] > 0
    pins = np.full(slots, -1, dtype=np.int64)
    pins[: len(rules.pinned)] = rules.pinned[:slots]
    there = (items[:, None, :] == pins[:, None]) & allowed[:, None, :]
    pinned = np.where(there.any(axis=2), there.argmax(axis=2), -1)
    label = rules.group[items]
    wide = np.ones(len(items), dtype=np.int64)
    start = PageRules(
        mask=allowed.astype(np.float32),
        group=(label[:, :, None] == label[:, None, :]).argmax(axis=2),
        new=rules.new[items],
        pinned=pinned,
        limit=wide * (rules.max_per_group or slots),
        groups=wide * rules.min_groups,
        fresh=wide * rules.min_new,
        fewer_new=wide < 0, fewer_groups=wide < 0, limit_raised=wide < 0,
        unpinned=(pins >= 0) & (pinned < 0),
    )  # fmt: skip
    return _as_far_as_possible(start)


def world_rules(world: World, state: SessionState, mask: F32) -> PageRules | None:
    """Return the rules of the shop's present pages, given its mask (B, N); None without rules."""
    rules = rules_of(world)
    if rules is None:
        return None
    _, items = sessions.candidates(world, state)
    return page_rules(rules, items, mask, world.config.slots)


def _as_far_as_possible(rules: PageRules) -> PageRules:
    """Lower what the pages cannot keep, the limit first because the others depend on it."""
    walk = Walk(rules)
    limit = rules.limit.copy()
    while True:
        short = np.minimum(walk.in_groups(walk.open), walk.room(limit)).sum(axis=1) < walk.left
        if not short.any():
            break
        limit += short
    walk.limit = limit
    count = walk.counts()
    groups = np.minimum(walk.groups, np.minimum(walk.left, count.untouched))
    most_new = np.minimum(count.new, walk.left - np.maximum(groups - count.untouched_new, 0))
    fresh = np.minimum(walk.fresh, most_new)
    kept = {f.name: getattr(rules, f.name) for f in fields(rules)}
    return PageRules(
        **kept
        | {
            "limit": limit,
            # Pins have their share already: what is left to come is added to it.
            "groups": groups + rules.groups - walk.groups,
            "fresh": fresh + rules.fresh - walk.fresh,
            "limit_raised": limit > rules.limit,
            "fewer_groups": groups < walk.groups,
            "fewer_new": fresh < walk.fresh,
        }
    )


@dataclass
class _Counts:
    """What the open candidates hold: group columns (B, N) as counts, sums (B,)."""

    new_in: I64
    room: I64
    untouched_group: Bools
    #: M, and the groups that nothing stands of: all with an item left (P + Q), and P.
    new: I64
    untouched: I64
    untouched_new: I64


class Walk:
    """B slates on their way: what stands, and what may come next."""

    def __init__(self, rules: PageRules) -> None:
        self.rules = rules
        self.limit = rules.limit
        pinned = rules.pinned >= 0
        self._rows = np.arange(len(rules.mask))
        reserved = np.zeros(rules.mask.shape, dtype=bool)
        row, slot = np.nonzero(pinned)
        reserved[row, rules.pinned[row, slot]] = True
        #: May still be chosen, if the rules let it, (B, N).
        self.open: Bools = (rules.mask > 0) & ~reserved
        #: Items that stand of each group, at the column of its first candidate, pins included.
        self.used = self.in_groups(reserved)
        #: Slots to fill beside the pins, groups and new items to come, (B,).
        free = rules.slots - pinned.sum(axis=1)
        self.left: I64 = np.minimum(free, self.open.sum(axis=1))
        self.groups: I64 = np.maximum(rules.groups - (self.used > 0).sum(axis=1), 0)
        self.fresh: I64 = np.maximum(rules.fresh - (reserved & rules.new).sum(axis=1), 0)

    def in_groups(self, flags: Bools) -> I64:
        """Count flags (B, N) by group, at the column of each group's first candidate, (B, N)."""
        rows, width = flags.shape
        place = (self._rows[:, None] * width + self.rules.group)[flags]
        return np.bincount(place, minlength=rows * width).reshape(rows, width)

    def room(self, limit: I64) -> I64:
        """How many more items each group takes, (B, N)."""
        return np.maximum(limit[:, None] - self.used, 0)

    def counts(self) -> _Counts:
        """Count what is open."""
        new_in, all_in = self.in_groups(self.open & self.rules.new), self.in_groups(self.open)
        room = self.room(self.limit)
        untouched = self.used == 0
        usable = np.minimum(new_in, room)
        return _Counts(
            new_in, room, untouched,
            new=usable.sum(axis=1),
            untouched=(untouched & (all_in > 0)).sum(axis=1),
            untouched_new=(untouched & (usable > 0)).sum(axis=1),
        )  # fmt: skip

    def free(self, slot: int) -> Bools:
        """Whether something is to be chosen for the slot, (B,): neither pinned nor void."""
        return (self.rules.pinned[:, slot] < 0) & (self.left > 0)

    def allowed(self) -> Bools:
        """Return what may stand in the next free slot, (B, N) bool; see the module's inequality."""
        count, group, new = self.counts(), self.rules.group, self.rules.new

        def own(by_group: NDArray[Any]) -> NDArray[Any]:
            return np.take_along_axis(by_group, group, axis=1)

        opens = own(count.untouched_group)
        left = self.left[:, None] - 1
        groups = np.maximum(self.groups[:, None] - opens, 0)
        fresh = np.maximum(self.fresh[:, None] - new, 0)
        # An item that is not new takes a new one's place where its group has no more room.
        takes = new | own(count.new_in >= count.room)
        able = count.untouched_new[:, None] - (opens & own(count.new_in > 0))
        return (
            self.open
            & own(count.room > 0)
            & (groups <= left)
            & (fresh <= count.new[:, None] - takes)
            & (fresh <= left - np.maximum(groups - able, 0))
        )

    def show(self, slot: int, chosen: I64) -> None:
        """Put the chosen candidates (B,) into the slot of those pages where it is free."""
        rows = self._rows[self.free(slot)]
        item = chosen[rows]
        group = self.rules.group[rows, item]
        self.groups[rows] = np.maximum(self.groups[rows] - (self.used[rows, group] == 0), 0)
        self.fresh[rows] = np.maximum(self.fresh[rows] - self.rules.new[rows, item], 0)
        self.used[rows, group] += 1
        self.open[rows, item] = False
        self.left[rows] -= 1


def fill(rules: PageRules, choose: Callable[[int, Bools], I64]) -> I64:
    """Fill slates from the top, (B, k) int64.

    Args:
        rules: of the pages.
        choose: from the slot and what is allowed in it (B, N) to a candidate of each page, (B,);
            what it says of a page whose slot is pinned or void does not count.

    Returns:
        Candidate positions. A void slot repeats the slate's first item, which a shop shows once.
    """
    walk = Walk(rules)
    slates = np.empty(rules.pinned.shape, dtype=np.int64)
    # Where not even the first slot can be filled, a pinned item further down is repeated there.
    spare = np.maximum(rules.pinned.max(axis=1), 0)
    for slot in range(rules.slots):
        free = walk.free(slot)
        chosen = choose(slot, walk.allowed())
        void = slates[:, 0] if slot else spare
        pinned = rules.pinned[:, slot]
        slates[:, slot] = np.where(free, chosen, np.where(pinned >= 0, pinned, void))
        walk.show(slot, slates[:, slot])
    return slates


def ranks(scores: NDArray[Any]) -> I64:
    """Place of each candidate among all, 0 is best, ties by position, (B, N) int64."""
    return np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")


def best_slates(scores: NDArray[Any], rules: PageRules) -> I64:
    """Return the constrained top k, (B, k) int64: the best allowed candidate in each slot.

    Without rules it is the top k. Scores (B, N) may be minus infinity, which ranks last.
    """
    place = ranks(scores)
    return fill(rules, lambda _, allowed: np.where(allowed, place, place.shape[1]).argmin(axis=1))
