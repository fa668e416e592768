"""House rules of a shelf: what a shop asks of every slate, whichever policy orders it.

The rules are settings (`ConstraintsConfig`), laid out once over a catalogue (`ShelfRules`) and
carried by the shop (`RuledWorld`), so that no policy knows of them: slates are decoded under them
in `policies.constraints_page`, and propensities counted in `policies.constraints_chances`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from envs.catalogue import Catalogue
from envs.errors import UserError, nearest
from envs.settings import Settings
from envs.world import World

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Values of a feature that say no.
_NO = ("", "0", "false", "no")


def upside_down(low: float | None, high: float | None) -> str:
    """Return what is wrong with a band of prices; nothing where it can hold any."""
    if low is None or high is None or low <= high:
        return ""
    return f"min_price ({low:g}) must not exceed max_price ({high:g})"


class ConstraintsConfig(Settings):
    """What every slate must keep, whichever policy orders it. Nothing, unless it is set.

    Where a page's candidates cannot keep all of it, the new items give way first, then the number
    of groups, then the limit within a group; filters never (docs/constraints.md).
    """

    diversity: Literal["class", "brand"] = "class"
    """What `min_groups` and `max_per_group` count: item classes or brands."""
    min_groups: int = Field(1, ge=1)
    """Different classes (or brands) on a slate, at least."""
    max_per_group: int | None = Field(None, ge=1)
    """Items of one class (or brand) on a slate, at most."""
    min_new: int = Field(0, ge=0)
    """New items on a slate, at least; fewer where a page's candidates hold fewer."""
    new_feature: str | None = None
    """An item is new where the catalogue's features have this key, with another value than no,
    false or 0. Without a key the least popular items count as new (`new_share`)."""
    new_share: float = Field(0.2, gt=0, lt=1)
    """Share of the catalogue that counts as new: the items that shoppers' histories hold least."""
    min_price: float | None = Field(None, ge=0)
    """Cheaper items are never shown; in the catalogue's currency."""
    max_price: float | None = Field(None, gt=0)
    """Dearer items are never shown; in the catalogue's currency."""
    out_of_stock: tuple[str, ...] = ()
    """Ids of items that are never shown."""
    pinned: dict[str, int] = Field(default={})
    """Item id -> slot, 1 is the top: the item stands there wherever it is among the candidates."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> ConstraintsConfig:
        if why := upside_down(self.min_price, self.max_price):
            raise ValueError(why)
        taken: dict[int, str] = {}
        for item, slot in self.pinned.items():
            if slot < 1:
                raise ValueError(f"pinned.{item}: slots count from 1, but it is {slot}")
            if slot in taken:
                raise ValueError(f"pinned: {taken[slot]!r} and {item!r} cannot both be in {slot}")
            if item in self.out_of_stock:
                raise ValueError(f"pinned.{item}: the item is also in out_of_stock")
            taken[slot] = item
        return self

    @property
    def idle(self) -> bool:
        """Whether nothing is asked of a slate."""
        return not (
            self.min_groups > 1
            or self.max_per_group is not None
            or self.min_new
            or self.min_price is not None
            or self.max_price is not None
            or self.out_of_stock
            or self.pinned
        )

    def contradiction(self, slots: int) -> str | None:
        """Say why no slate of ``slots`` items can keep the rules; None where one might."""
        for name, value in (("min_groups", self.min_groups), ("min_new", self.min_new)):
            if value > slots:
                return f"{name} is {value}, but a slate has {slots} slots; lower it"
        for item, slot in self.pinned.items():
            if slot > slots:
                return f"pinned.{item} is slot {slot}, but a slate has {slots}; name one of those"
        return None


@dataclass(frozen=True)
class ShelfRules:
    """The rules laid out over the I items of a catalogue."""

    #: Class or brand of each item, (I,) int64.
    group: I64
    #: Whether it counts as new, (I,) bool.
    new: Bools
    #: Whether price and stock let it be shown, (I,) bool.
    showable: Bools
    #: Item by slot, -1 where nothing is pinned; slots after the last pin are left out, (P,) int64.
    pinned: I64
    min_groups: int
    #: None: as many as there are slots.
    max_per_group: int | None
    min_new: int

    @classmethod
    def of_nothing(cls, items: int) -> ShelfRules:
        """Return rules over I items that ask nothing, for filters to be added."""
        return cls(
            group=np.zeros(items, dtype=np.int64), new=np.zeros(items, dtype=bool),
            showable=np.ones(items, dtype=bool), pinned=np.zeros(0, dtype=np.int64),
            min_groups=1, max_per_group=None, min_new=0,
        )  # fmt: skip

    def without(self, hidden: Bools) -> ShelfRules:
        """Return the rules where the items of ``hidden`` (I,) may not be shown either."""
        return replace(self, showable=self.showable & ~hidden)

    def over(self, items: I64) -> ShelfRules:
        """Return the rules over other rows: row n is item ``items[n]`` of this catalogue, (M,)."""
        place = np.full(len(self.group), -1, dtype=np.int64)
        place[items] = np.arange(len(items))
        return replace(
            self, group=self.group[items], new=self.new[items], showable=self.showable[items],
            pinned=np.where(self.pinned < 0, -1, place[self.pinned]),
        )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """Return what a log says of the rules that it was written under, as JSON values."""
        digest = hashlib.sha256()
        for array in (self.group, self.new, self.showable, self.pinned):
            digest.update(np.ascontiguousarray(array).tobytes())
        return {
            "min_groups": self.min_groups,
            "max_per_group": self.max_per_group,
            "min_new": self.min_new,
            "which_items": digest.hexdigest(),
        }


def shelf_rules(
    config: ConstraintsConfig, catalogue: Catalogue, popularity: F32, slots: int
) -> ShelfRules:
    """Lay the rules out over a catalogue.

    Args:
        config: what is asked.
        catalogue: the items.
        popularity: share of history events of each item, (I,) float32.
        slots: slate length k.

    Raises:
        UserError: no slate of this catalogue can keep the rules, or they name an unknown item.
    """
    why = config.contradiction(slots)
    if why is not None:
        raise UserError(f"constraints.{why}")
    position = catalogue.item_position
    for where, ids in (("out_of_stock", config.out_of_stock), ("pinned", tuple(config.pinned))):
        for item in ids:
            if item not in position:
                raise UserError(
                    f"constraints.{where}: the catalogue has no item {item!r}; give its ids."
                    + nearest(item, position)
                )
    pinned = np.full(max(config.pinned.values(), default=0), -1, dtype=np.int64)
    for item, slot in config.pinned.items():
        pinned[slot - 1] = position[item]
    column = catalogue.items[config.diversity]
    rules = ShelfRules(
        group=np.unique(column.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64),
        new=_new_items(config, catalogue, popularity),
        showable=~_out_of_reach(config, catalogue),
        pinned=pinned,
        min_groups=config.min_groups,
        max_per_group=config.max_per_group,
        min_new=config.min_new,
    )
    _check_catalogue(config, rules, catalogue, slots)
    return rules


def price_band(prices: NDArray[Any], low: float | None, high: float | None) -> Bools:
    """Return which prices lie outside a band, (I,) bool; None leaves that side open."""
    return (prices < (-np.inf if low is None else low)) | (
        prices > (np.inf if high is None else high)
    )


def _out_of_reach(config: ConstraintsConfig, catalogue: Catalogue) -> Bools:
    prices = catalogue.items["price"].to_numpy(dtype=np.float64)
    hidden = price_band(prices, config.min_price, config.max_price)
    hidden[[catalogue.item_position[item] for item in config.out_of_stock]] = True
    return hidden


def _new_items(config: ConstraintsConfig, catalogue: Catalogue, popularity: F32) -> Bools:
    new = np.zeros(catalogue.n_items, dtype=bool)
    if config.new_feature is None:
        least = np.argsort(popularity, kind="stable")
        new[least[: max(1, round(config.new_share * catalogue.n_items))]] = True
        return new
    rows = catalogue.features[catalogue.features["key"] == config.new_feature]
    if rows.empty and config.min_new:
        keys = catalogue.features["key"].unique()
        raise UserError(
            f"constraints.new_feature: no item has a feature {config.new_feature!r}; name a key of "
            f"the catalogue's features, or leave it out.{nearest(config.new_feature, keys)}"
        )
    says = rows[~rows["value"].str.strip().str.lower().isin(_NO)]
    new[catalogue.positions(says["item_id"])] = True
    return new


def _check_catalogue(
    config: ConstraintsConfig, rules: ShelfRules, catalogue: Catalogue, slots: int
) -> None:
    """Raise a UserError where even the whole catalogue could not fill one slate."""
    ids = catalogue.items["item_id"]
    for item in rules.pinned[rules.pinned >= 0]:
        if not rules.showable[item]:
            raise UserError(
                f"constraints.pinned.{ids[item]}: its price lies outside min_price and max_price; "
                "unpin it or widen the band"
            )
    left = int(rules.showable.sum())
    groups = len(np.unique(rules.group[rules.showable]))
    new = int((rules.new & rules.showable).sum())
    most = groups * (rules.max_per_group or slots)
    for name, wanted, there, what in (
        ("the price band and out_of_stock", slots, left, "items are left to show"),
        ("min_groups", rules.min_groups, groups, f"different values of {config.diversity}"),
        ("max_per_group", slots, most, "items could stand on one slate"),
        ("min_new", rules.min_new, new, "new items"),
    ):
        if there < wanted:
            raise UserError(
                f"constraints: with {name} a slate needs {wanted}, but of the whole catalogue only "
                f"{there} {what}; ask for less"
            )


@dataclass(frozen=True)
class RuledWorld(World):
    """A shop whose slates keep rules: whoever orders them there is decoded under them.

    The shop's own dynamics do not know of the rules, so that a ranker may train in it unaware.
    """

    rules: ShelfRules = field(kw_only=True)


def with_rules(world: World, rules: ShelfRules | None) -> World:
    """Return the same shop under these rules, or under none."""
    kept = {f.name: getattr(world, f.name) for f in fields(World)}
    return World(**kept) if rules is None else RuledWorld(**kept, rules=rules)


def constrained(world: World, catalogue: Catalogue, config: ConstraintsConfig) -> World:
    """Return the shop under the rules that a config asks for; the shop itself where it asks none.

    Raises:
        UserError: see `shelf_rules`.
    """
    if config.idle:
        return world
    return with_rules(world, shelf_rules(config, catalogue, world.popularity, world.config.slots))


def rules_of(world: World) -> ShelfRules | None:
    """Return the rules that a shop's slates keep, if any."""
    return world.rules if isinstance(world, RuledWorld) else None
