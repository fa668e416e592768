"""How strong each fact of an Icecat product is, and which facts an item keeps.

What becomes a fact is decided by the rules of ``icecat_aspects``; here the readings of a whole shop
are compared within their class, chosen, and summed up as an item's stand-in for quality.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.importers.icecat_aspects import EVERYDAY, readings
from envs.importers.icecat_rule import Rule
from envs.importers.icecat_titles import title_features
from envs.importers.icecat_values import Product, Reading

#: Most words of a phrase.
MOST_WORDS = 6
MOST_FACTS = 7
#: Strength of a numeric fact when its class has too few values to compare it with.
LONE_STRENGTH = 0.6
FEWEST_TO_COMPARE = 5
#: A number this many times above or below the median of its class is of another unit.
FAR = 200.0
FEWEST_FOR_FAR = 10


def with_body_size(features: Mapping[str, str]) -> dict[str, str]:
    """Add ``body_size`` (width x depth x height, mm): Icecat gives it in one key or in three."""
    width, depth, height = (features.get(key, "") for key in ("width", "depth", "height"))
    whole = features.get("dimensions__wxdxh_", "")
    if width and height and (depth or not whole):
        whole = " x ".join(side for side in (width, depth, height) if side)
    return {**features, "body_size": whole} if whole else dict(features)


@dataclass(frozen=True)
class Candidate:
    """A reading of one item before its strength is known."""

    row: int
    kind: str
    rule: Rule
    key: str
    value: str
    reading: Reading


def percentiles(amounts: NDArray[np.float64], good: int) -> NDArray[np.float64]:
    """Return the share of the values (n,) that each one is at least as good as, in (0, 1]."""
    signed = amounts * good
    return np.searchsorted(np.sort(signed), signed, side="right") / len(signed)


def far_off(amounts: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark values (n,) so far from the median that they must be of another unit."""
    if len(amounts) < FEWEST_FOR_FAR:
        return np.zeros(len(amounts), dtype=bool)
    ratio = np.maximum(amounts, 1e-9) / max(float(np.median(amounts)), 1e-9)
    return (ratio > FAR) | (ratio < 1 / FAR)


def strengths(candidates: list[Candidate], class_size: Mapping[str, int]) -> NDArray[np.float64]:
    """Return the strength of each candidate, (n,) in (0, 1]; NaN where it is far off.

    A number is as strong as its percentile among the same key within the class, in the direction
    that is good (lighter, longer, quieter), at least 0.2; 0.6 where fewer than five values can be
    compared. A fact without a number is stronger the rarer it is: 0.9 - 0.6 * its share of the
    class.
    """
    out = np.empty(len(candidates))
    numeric: dict[tuple[str, str], list[int]] = defaultdict(list)
    phrases = Counter((c.kind, c.reading.phrases[0]) for c in candidates)
    for index, candidate in enumerate(candidates):
        if candidate.reading.amount is None:
            share = phrases[candidate.kind, candidate.reading.phrases[0]]
            out[index] = 0.9 - 0.6 * share / class_size[candidate.kind]
        else:
            numeric[candidate.kind, candidate.key].append(index)
    for rows in numeric.values():
        amounts = np.array([candidates[i].reading.amount for i in rows], dtype=np.float64)
        if len(rows) < FEWEST_TO_COMPARE:
            out[rows] = LONE_STRENGTH
        else:
            out[rows] = np.maximum(0.2, percentiles(amounts, candidates[rows[0]].rule.good))
        out[np.array(rows)[far_off(amounts)]] = np.nan
    return out


def sayable(phrases: tuple[str, ...]) -> bool:
    """Whether phrases read as words: short enough and without a raw key's underscores."""
    return all(len(p.split()) <= MOST_WORDS and "_" not in p and p == p.strip() for p in phrases)


def choose(
    candidates: list[Candidate], strength: NDArray[np.float64], dropped: Counter[str]
) -> list[int]:
    """Return the indices of the candidates that become facts, at most seven an item.

    Facts that say something of the product come before everyday ones, then the stronger first.
    """
    aspect_of: dict[str, str] = {}
    by_row: dict[int, list[int]] = defaultdict(list)
    for index, candidate in enumerate(candidates):
        said = candidate.reading.phrases
        if math.isnan(strength[index]):
            dropped["numbers far from the rest of their class"] += 1
        elif not sayable(said):
            dropped["facts whose phrase would not read well"] += 1
        # A phrase must name one aspect, or a text's claims could not be told apart.
        elif any(aspect_of.setdefault(p, candidate.rule.aspect) != candidate.rule.aspect
                 for p in said):  # fmt: skip
            dropped["facts whose phrase another aspect uses"] += 1
        else:
            by_row[candidate.row].append(index)
    chosen: list[int] = []
    for indices in by_row.values():
        indices.sort(key=lambda i: (candidates[i].rule.aspect in EVERYDAY, -strength[i]))
        dropped[f"facts beyond the first {MOST_FACTS} of an item"] += len(indices[MOST_FACTS:])
        chosen += indices[:MOST_FACTS]
    return chosen


def facts_table(
    products: list[dict[str, str]], features: list[dict[str, str]], dropped: Counter[str]
) -> pd.DataFrame:
    """Return the facts of all products as the catalogue's table."""
    candidates: list[Candidate] = []
    for row, (product, known) in enumerate(zip(products, features, strict=True)):
        kind = product["product_class"]
        text = f"{product['product_name']} {product['product_description']}".lower()
        stated = title_features(
            product["product_name"], product["product_description"], kind, product["brand"]
        )
        # What the data sheet says goes before what the title says.
        seen = Product(kind, text, with_body_size({**stated, **known}))
        candidates += [
            Candidate(row, kind, rule, key, seen.features[key], reading)
            for rule, key, reading in readings(seen)
        ]
    strength = strengths(candidates, Counter(p["product_class"] for p in products))
    chosen = choose(candidates, strength, dropped)
    return pd.DataFrame(
        {
            "item_id": pd.Series(
                [products[candidates[i].row]["product_id"] for i in chosen], dtype="str"
            ),
            "aspect": pd.Series([candidates[i].rule.aspect for i in chosen], dtype="str"),
            "key": pd.Series([candidates[i].key for i in chosen], dtype="str"),
            "value": pd.Series([candidates[i].value for i in chosen], dtype="str"),
            "phrases": pd.Series(
                [list(candidates[i].reading.phrases) for i in chosen], dtype=object
            ),
            "strength": strength[chosen],
        }
    )


def count_from_features(facts: pd.DataFrame, features: pd.DataFrame) -> int:
    """Return how many facts state a feature of the data sheet."""
    known = set(zip(features["item_id"], features["key"], strict=True))
    return sum(
        key == "body_size" or (item, key) in known
        for item, key in zip(facts["item_id"], facts["key"], strict=True)
    )


def proxy_quality(items: pd.DataFrame, facts: pd.DataFrame) -> NDArray[np.float64]:
    """Return a stand-in for ratings, (I,) in [0, 1].

    0.4 * mean fact strength + 0.3 * facts / 7 + 0.3 * how new the item is within its class.
    """
    grouped = facts.groupby("item_id")["strength"]
    mean = items["item_id"].map(grouped.mean()).fillna(0.0)
    count = items["item_id"].map(grouped.size()).fillna(0.0)
    age = items.groupby("class")["date_released"].rank(pct=True)
    return (0.4 * mean + 0.3 * count / MOST_FACTS + 0.3 * age).clip(0, 1).to_numpy(dtype=float)
