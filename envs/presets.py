"""Three kinds of visits as overrides of the shop's and the shoppers' settings."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from envs.errors import UserError, nearest

#: Preset -> section -> setting -> value. Sections: ``shop`` (`envs.behaviour.ShopConfig`) and
#: ``shoppers`` (`envs.shoppers.ShopperConfig`); what is not named keeps its default. The numbers
#: are ours: chosen so that the three differ in the way their sentence says, not measured in a shop.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Looks around from the home page, follows what it clicks, buys now and then: the defaults.
    "browsing": {"shop": {}, "shoppers": {}},
    # Knows what it wants: searches, looks at few pages, buys what it clicks, seldom comes back.
    "mission": {
        "shop": {
            "start_home": 0.1,
            "start_search": 0.85,
            "new_query": 0.25,
            "follow_click": 0.3,
            "w_scene": 2.2,
            "buy_bias": -4.9,
            "leave_impatience": 0.6,
            "return_bias": -6.5,
        },
        "shoppers": {"patience_low": 1.0, "patience_high": 4.0},
    },
    # Believes little, does not forgive an unsupported claim, and watches the price.
    "sceptical": {
        "shop": {
            # Caring more about prices adds to what suits; being harder to please takes it off.
            "bias": -5.8,
            "buy_bias": -6.6,
            "trust_lost": 0.6,
            "trust_won": 0.03,
            "leave_distrust": 3.0,
            "buy_lie": 2.5,
        },
        "shoppers": {
            "trust_mean": 0.4,
            "price_sensitivity": 1.8,
            "price_point_mean": -0.5,
        },
    },
}  # fmt: skip


def preset_overrides(name: str) -> dict[str, dict[str, Any]]:
    """Return the overrides of a preset, ``{"shop": {...}, "shoppers": {...}}``, free to change.

    Raises:
        UserError: for an unknown name.
    """
    if name not in PRESETS:
        raise UserError(
            f"preset: there is no preset {name!r}; there are {', '.join(PRESETS)}."
            f"{nearest(name, PRESETS)}"
        )
    return deepcopy(PRESETS[name])
