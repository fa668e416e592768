"""Made-up reviews that agree with what an item is: its quality, its facts and its rating."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.catalogue import Catalogue, typed_table
from envs.synthetic_words import Locale, ReviewWords, load_words

#: How many reviews an item gets where enough shoppers met it, inclusive.
REVIEWS_PER_ITEM = (1, 3)
#: Facts at least this strong are praised, at most that strong are criticised.
PRAISED, CRITICISED = 0.6, 0.4
#: How many facts a review praises and criticises, by mood.
_SAID = {"good": (2, 1), "middling": (1, 1), "bad": (1, 2)}

#: Aspect, phrases and strength of a fact.
Fact = tuple[str, list[str], float]


def with_reviews(catalogue: Catalogue, rng: np.random.Generator) -> Catalogue:
    """Return the catalogue with about two made-up reviews of each item that somebody met.

    Shoppers review what they bought; items that too few bought are reviewed by shoppers who only
    met them. The rating is 2.1 + 2.4 quality + 1.6 mean strength + noise of deviation 0.9, rounded
    and cut to 1..5: most ratings are kind, few are harsh, which is the shape of ratings in shops
    (Hu, Zhang and Pavlou 2009, "Overcoming the J-shaped distribution of product reviews", CACM
    52). The text praises strong facts and criticises weak ones.

    Raises:
        ValueError: if the catalogue has no history, since nobody could have written a review.
    """
    if not len(catalogue.history):
        raise ValueError("with_reviews needs a catalogue that has a history")
    words = load_words(cast(Locale, catalogue.locale))
    written = _reviewed(catalogue.history, rng)
    ids, row = np.unique(written["item_id"].to_numpy(dtype=object), return_inverse=True)
    items = catalogue.items[catalogue.items["item_id"].isin(ids)].set_index("item_id").loc[ids]
    facts = _facts_of(catalogue.facts, ids)
    quality = items["quality"].to_numpy()
    # An item about which nothing is known is rated on its quality alone.
    fit = np.array(
        [np.mean([f[2] for f in known]) if known else q for known, q in zip(facts, quality)]
    )
    rating = 2.1 + 2.4 * quality[row] + 1.6 * fit[row] + rng.normal(0, 0.9, len(written))
    written["rating"] = np.clip(rating.round(), 1, 5)
    brand = items["brand"].tolist()
    written["text"] = [
        _review(words.reviews, words.joint, brand[item], facts[item], stars, rng)
        for item, stars in zip(row.tolist(), written["rating"].tolist(), strict=True)
    ]
    return replace(
        catalogue,
        reviews=typed_table(written, "reviews", catalogue.name),
        notes=[*catalogue.notes, "Reviews are made up from quality and facts."],
    )


def _facts_of(table: pd.DataFrame, ids: NDArray[np.object_]) -> list[list[Fact]]:
    """Return the facts of each of the sorted item ids; only their rows are looked at."""
    table = table[table["item_id"].isin(ids)]
    row = np.searchsorted(ids, table["item_id"].to_numpy(dtype=object))
    found: list[list[Fact]] = [[] for _ in ids]
    for item, aspect, phrases, strength in zip(
        row.tolist(), table["aspect"], table["phrases"], table["strength"], strict=True
    ):
        found[item].append((aspect, phrases, strength))
    return found


def _reviewed(history: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Draw who reviews what: distinct (shopper, item) pairs, purchases before other events."""
    shuffled = history.iloc[rng.permutation(len(history))]
    bought = shuffled["event"] == "purchase"
    ordered = pd.concat([shuffled[bought], shuffled[~bought]])
    pairs = ordered.drop_duplicates(["shopper_id", "item_id"])[["item_id", "shopper_id"]]
    low, high = REVIEWS_PER_ITEM
    met = sorted(pairs["item_id"].unique())
    wanted = pd.Series(rng.integers(low, high + 1, len(met)), index=met)
    first = pairs.groupby("item_id").cumcount() < pairs["item_id"].map(wanted)
    return pairs[first].sort_values(["item_id", "shopper_id"]).reset_index(drop=True)


@dataclass(frozen=True)
class _Drawer:
    """Draws words of one review."""

    rng: np.random.Generator
    brand: str

    def one(self, options: list[str]) -> str:
        return options[self.rng.integers(len(options))]

    def about(self, facts: list[Fact], templates: list[str], count: int) -> list[str]:
        """Say up to ``count`` of the facts, each in a sentence of its own form."""
        shown = [facts[i] for i in self.rng.permutation(len(facts))[:count]]
        forms = [templates[i] for i in self.rng.permutation(len(templates))]
        return [
            form.format(phrase=self.one(phrases), aspect=aspect, brand=self.brand)
            for form, (aspect, phrases, _) in zip(forms, shown, strict=False)
        ]


def _review(
    words: ReviewWords, joint: str, brand: str, facts: list[Fact], stars: float,
    rng: np.random.Generator,
) -> str:  # fmt: skip
    """Write one review: an opener, what is good and what is not, and sometimes a closer."""
    draw = _Drawer(rng, brand)
    mood = "good" if stars >= 4 else "middling" if stars >= 3 else "bad"
    n_praise, n_criticism = _SAID[mood]
    praise = draw.about([f for f in facts if f[2] >= PRAISED], words.praise, n_praise)
    # A full-marks review has nothing to complain about.
    blemishes = [f for f in facts if f[2] <= CRITICISED and stars < 5]
    criticism = draw.about(blemishes, words.criticism, n_criticism)
    body = [*criticism, *praise] if mood == "bad" else [*praise, *criticism]
    opener = draw.one(words.openers[mood]).format(brand=brand)
    sentences = [opener, *body, draw.one(words.closers[mood])]
    return joint.join(sentence for sentence in sentences if sentence)
