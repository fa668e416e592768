"""Which Icecat features become facts: the aspect each belongs to and the phrase that states it.

``RULES`` lists, aspect by aspect, which keys are read by which reader (see ``icecat_values``); the
first rule that gives a reading wins, so each aspect is ordered from most to least informative.
Phrases are noun phrases that fit "Pick it for its {phrase}.", and each aspect has its own wording,
so that a phrase names one aspect only.
"""

from __future__ import annotations

import re

from envs.importers.icecat_rule import Rule
from envs.importers.icecat_rules_body import BODY_RULES
from envs.importers.icecat_rules_devices import DEVICE_RULES
from envs.importers.icecat_rules_supplies import SUPPLY_RULES
from envs.importers.icecat_values import Product, Reading

RULES: tuple[Rule, ...] = DEVICE_RULES + SUPPLY_RULES + BODY_RULES

#: Aspect names in the order of the rules.
ASPECTS: tuple[str, ...] = tuple(dict.fromkeys(r.aspect for r in RULES))

#: True of nearly everything and persuasive of little: they give way where facts are too many.
EVERYDAY = frozenset({"colour", "size", "weight", "temperature", "environment", "ease of use"})

LOGISTICS = re.compile(
    r"pallet|master__outer|carton|shipping_|^package_|^packaging_|_packaging_|gtin|ean_upc|ean_code"
    r"|hs__code|_ark_id$|^ark_id$|_map$|^last_change$|^12_?nc|oem_code|unspsc|minimum_order"
    r"|tare_weight|gross_weight|images_type|country_of_origin"
)


def is_logistics(key: str) -> bool:
    """Whether a key describes boxes, pallets or article numbers rather than the product."""
    return LOGISTICS.search(key) is not None


def readings(product: Product) -> list[tuple[Rule, str, Reading]]:
    """Return the first reading of each aspect as (rule, key, reading), in the order of RULES."""
    found: dict[str, tuple[Rule, str, Reading]] = {}
    for one in RULES:
        if one.aspect in found or (one.only and product.kind not in one.only):
            continue
        if product.kind in one.never:
            continue
        for key in one.keys:
            value = product.features.get(key)
            reading = one.read(value, product) if value is not None else None
            if reading is not None:
                found[one.aspect] = (one, key, reading)
                break
    return list(found.values())
