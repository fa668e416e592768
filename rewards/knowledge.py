"""What is known about the items of a catalogue, in the form that texts are compared with.

The whole catalogue gives the phrases that mean something (facts, boolean features, colours,
brands); an item gives those that are true of it. An item's part is worked out when it is first
asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd

from envs.catalogue import Catalogue
from rewards.atoms import Atoms, Key, atoms
from rewards.inflection import stem
from rewards.lexicon import Lexicon
from rewards.quantities import Quantity
from rewards.words import is_chinese, is_number, tokens

Phrase = tuple[Key, ...]

#: Values of a feature that say it is there, and that say it is not.
TRUE = frozenset({"yes", "y", "true", "是", "有", "支持"})
FALSE = frozenset({"no", "n", "false", "none", "否", "无", "没有", "不支持"})
#: A number that says itself what it counts: "9-pin".
_COUNT = re.compile(r"\d[\d.,]*-[a-z][\w-]*")
_COLOUR_KEYS = ("colour", "color", "颜色")
#: What a boolean feature's key may begin with: ``has_nfc`` is about NFC.
_ASKING = frozenset({"has", "have", "is", "with", "supports"})
#: Parts of a compound that turn the meaning of the other.
_TURNING = frozenset(
    [
        "free",
        "less",
        "proof",
        "resistant",
        "repellent",
        "non",
        "un",
        "anti",
        "semi",
        "near",
        "half",
        "low",
        "no",
        "pre",
        "post",
        "faux",
    ]
)
#: Fewest tokens of a fact's end that count as stating it: "noise cancelling" of "hybrid noise
#: cancelling", 主动降噪 of 混合主动降噪.
_SHORTEST_END = 2
_SHORTEST_CHINESE_END = 4


@dataclass(frozen=True)
class KnownQuantity:
    """A quantity of a fact or feature, with the words that say what it measures."""

    quantity: Quantity
    heads: frozenset[str]
    aspect: int


@dataclass
class ItemKnowledge:
    """What is true of one item."""

    #: Aspect of each phrase that states a fact.
    facts: dict[Phrase, int] = field(default_factory=dict)
    #: Ends of facts that state them less exactly, and the lengths of those that begin with a key.
    ends: dict[Phrase, int] = field(default_factory=dict)
    end_lengths: dict[Key, tuple[int, ...]] = field(default_factory=dict)
    #: Words of each fact without numbers, whatever their order, and its aspect.
    bags: list[tuple[frozenset[Key], int]] = field(default_factory=list)
    bag_words: set[Key] = field(default_factory=set)
    #: Words of the item's names and facts, as they are and as stems.
    words: set[Key] = field(default_factory=set)
    #: Stems of the words of its names alone.
    names: set[Key] = field(default_factory=set)
    #: Numbers of the item's names, with the word before and after ("" at an end).
    named_numbers: set[tuple[str, str, str]] = field(default_factory=set)
    quantities: list[KnownQuantity] = field(default_factory=list)
    #: Boolean features: whether the item has what the phrase names.
    flags: dict[Phrase, bool] = field(default_factory=dict)
    colours: set[Phrase] = field(default_factory=set)
    #: Runs of Chinese characters that names and facts hold.
    runs: set[str] = field(default_factory=set)


@dataclass
class ShopKnowledge:
    """What any item may claim."""

    #: Kind ("fact", "feature", "colour", "brand") and aspect (-1 for none) of each phrase.
    phrases: dict[Phrase, tuple[str, int]] = field(default_factory=dict)
    #: Lengths of the phrases that begin with a key, longest first.
    lengths: dict[Key, tuple[int, ...]] = field(default_factory=dict)
    #: For each dimension ("#" for counts) the words that say what it measures, and their aspect.
    heads: dict[str, dict[str, int]] = field(default_factory=dict)


@lru_cache(maxsize=65_536)
def lexed(phrase: str) -> tuple[tuple[str, ...], Atoms]:
    """Return the tokens and atoms of a phrase."""
    words = tuple(tokens(phrase))
    return words, atoms(words)


class Knowledge:
    """The facts, features and names of a catalogue, ready for look-up."""

    def __init__(self, catalogue: Catalogue, words: Lexicon) -> None:
        self._words = words
        self._aspect_of = {aspect: index for index, aspect in enumerate(catalogue.aspects)}
        items = catalogue.items
        self._names = list(zip(items["title"], items["brand"], items["class"]))
        self._facts = Rows(catalogue, catalogue.facts, ("aspect", "key", "value", "phrases"))
        self._features = Rows(catalogue, catalogue.features, ("key", "value"))
        self._known: dict[int, ItemKnowledge] = {}
        self.shop = self._shop(catalogue)

    def item(self, item: int) -> ItemKnowledge:
        """Return what is known about the item with index ``item``."""
        known = self._known.get(item)
        if known is None:
            known = self._known[item] = self._item(item)
        return known

    # The shop

    def _shop(self, catalogue: Catalogue) -> ShopKnowledge:
        shop = ShopKnowledge()
        for brand in catalogue.items["brand"].unique():
            self._add(shop, brand, "brand", -1)
        features = zip(catalogue.features["key"], catalogue.features["value"])
        colours = dict.fromkeys(value for key, value in features if is_colour(key, value))
        for colour in [*self._words.colours, *colours]:
            self._add(shop, colour, "colour", -1)
        lowered = catalogue.features["value"].str.strip().str.lower()
        flags = catalogue.features.loc[lowered.isin(TRUE | FALSE), "key"]
        for key in flags.unique():
            self._add(shop, flag_name(key), "feature", -1)
        for aspect, phrase in _distinct(catalogue.facts):
            index = self._aspect_of[aspect]
            self._add(shop, phrase, "fact", index)
            _, form = lexed(phrase)
            dimensions = {q.dimension for q in form.quantities.values()}
            dimensions |= {"#" for key in form.keys if key[0] == "#"}
            for dimension in dimensions:
                heads = shop.heads.setdefault(dimension, {})
                for head in self._heads(form):
                    heads.setdefault(head, index)
        shop.lengths = _lengths(shop.phrases)
        return shop

    def _add(self, shop: ShopKnowledge, text: str, kind: str, aspect: int) -> None:
        words, form = lexed(text)
        # A colour or brand that is also an ordinary word ("Next") says nothing.
        plain = kind != "fact" and len(words) == 1 and words[0] in self._words.ordinary
        if form.keys and not plain:
            shop.phrases[tuple(form.keys)] = (kind, aspect)

    def _heads(self, form: Atoms) -> frozenset[str]:
        """Return the words of a phrase that say what its number measures."""
        words = (key for key in form.keys if isinstance(key, str))
        return frozenset(w for w in words if w not in self._words.ordinary)

    # One item

    def _item(self, item: int) -> ItemKnowledge:
        known = ItemKnowledge()
        for name in self._names[item]:
            words, _ = lexed(name)
            self._learn_words(known, words, name)
            known.names.update(stem(word) for word in words)
            known.named_numbers.update(_numbers(words))
        for aspect, key, value, phrases in self._facts.of(item):
            self._learn_fact(known, self._aspect_of[aspect], key, value, phrases)
        for key, value in self._features.of(item):
            self._learn_feature(known, key, value)
        known.end_lengths = _lengths(known.ends)
        return known

    def _learn_words(self, known: ItemKnowledge, words: Iterable[str], text: str) -> None:
        words = [w for w in words if not is_number(w)]
        fixed = text
        for word in self._words.fixed:
            fixed = fixed.replace(word, " ")
        if self._words.negators.intersection(w for word in tokens(fixed) for w in word.split("-")):
            # "no drip" must not allow "drip".
            return
        known.words.update(word for word in words if not is_chinese(word))
        known.words.update(stem(word) for word in words if not is_chinese(word))
        for word in words:
            parts = word.split("-")
            # "memory-foam" allows "foam", but "pressure-free" must not allow "free".
            if len(parts) > 1 and not _TURNING.intersection(parts):
                known.words.update(stem(part) for part in parts)
        if is_chinese(text):
            for run in "".join(w if is_chinese(w) else " " for w in tokens(text)).split():
                known.runs.add(run)
                known.runs.update(
                    run[a:b] for a in range(len(run)) for b in range(a + 2, len(run) + 1)
                )

    def _learn_fact(
        self, known: ItemKnowledge, aspect: int, key: str, value: str, phrases: Iterable[str]
    ) -> None:
        heads: set[str] = {stem(w) for w in tokens(key.replace("_", " "))}
        for phrase in phrases:
            words, form = lexed(phrase)
            known.facts.setdefault(tuple(form.keys), aspect)
            heads |= self._heads(form)
            # Numbers alone prove nothing: "30" of a 30-hour battery must not allow "30 years".
            self._learn_words(known, words, phrase)
            known.words.update(*map(_counts, words))
            self._learn_ends(known, words, form, aspect)
        for text in (*phrases, value):
            for quantity in lexed(text)[1].quantities.values():
                known.quantities.append(KnownQuantity(quantity, frozenset(heads), aspect))

    def _learn_ends(
        self, known: ItemKnowledge, words: tuple[str, ...], form: Atoms, aspect: int
    ) -> None:
        if not all(isinstance(key, str) for key in form.keys):
            # What is left of "30 dB noise level" is the name of the aspect, no claim.
            return
        shortest = _SHORTEST_CHINESE_END if is_chinese("".join(words)) else _SHORTEST_END
        for start in range(1, len(form.keys)):
            end = tuple(form.keys[start:])
            dropped = set(words[: form.first[start]])
            if (
                len(words) - form.first[start] >= shortest
                and words[form.first[start]] not in self._words.ordinary
                and not dropped & self._words.negators
            ):
                known.ends.setdefault(end, aspect)
        content = frozenset(form.keys)
        if len(content) > 1:
            known.bags.append((content, aspect))
            known.bag_words |= content

    def _learn_feature(self, known: ItemKnowledge, key: str, value: str) -> None:
        plain = value.strip().lower()
        if is_colour(key, value):
            known.colours.add(tuple(lexed(value)[1].keys))
        elif plain in TRUE or plain in FALSE:
            known.flags[tuple(lexed(flag_name(key))[1].keys)] = plain in TRUE
        else:
            heads = frozenset(stem(w) for w in tokens(key.replace("_", " ")))
            for quantity in lexed(value)[1].quantities.values():
                known.quantities.append(KnownQuantity(quantity, heads, -1))


class Rows:
    """The rows of a table, by item index."""

    def __init__(self, catalogue: Catalogue, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
        positions = table["item_id"].map(catalogue.item_position).to_numpy(dtype=np.int64)
        order = np.argsort(positions, kind="stable")
        self._columns = [table[column].to_numpy()[order] for column in columns]
        self._starts = np.searchsorted(positions[order], np.arange(catalogue.n_items + 1))

    def of(self, item: int) -> Iterator[tuple]:
        """Return the chosen cells of each row of the item with index ``item``."""
        rows = slice(self._starts[item], self._starts[item + 1])
        return zip(*(column[rows] for column in self._columns))


def _lengths(phrases: Iterable[Phrase]) -> dict[Key, tuple[int, ...]]:
    """Return the lengths of the phrases that begin with each key, longest first."""
    found: dict[Key, set[int]] = {}
    for phrase in phrases:
        found.setdefault(phrase[0], set()).add(len(phrase))
    return {key: tuple(sorted(lengths, reverse=True)) for key, lengths in found.items()}


def _counts(word: str) -> set[str]:
    """Return a word such as "9-pin", which is the item's as a whole, with what it counts.

    A quantity is left out: it is compared by amount and unit, and by what it measures.
    """
    if not _COUNT.fullmatch(word) or lexed(word)[1].quantities:
        return set()
    return {word, *(stem(part) for part in word.split("-")[1:] if part not in _TURNING)}


def is_colour(key: str, value: str) -> bool:
    """Whether a feature's value is a colour: its key says so, and it holds no number.

    A printer's ``print_speed_colour`` is 22; were that a colour, every 22 in a text would be one.
    """
    return _says_colour(key) and not any(c.isdigit() for c in value)


@lru_cache(maxsize=4_096)
def _says_colour(key: str) -> bool:
    return any(name in key.lower() for name in _COLOUR_KEYS)


@lru_cache(maxsize=4_096)
def flag_name(key: str) -> str:
    """Return what a boolean feature is about, in words: ``has_nfc`` -> "nfc"."""
    words = tokens(key.replace("_", " "))
    return " ".join(words[1:] if words[:1] and words[0] in _ASKING and words[1:] else words)


def _distinct(facts: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Return each aspect and phrase once, in the order of the table."""
    seen: dict[tuple[str, str], None] = {}
    for aspect, phrases in zip(facts["aspect"], facts["phrases"]):
        for phrase in phrases:
            seen.setdefault((aspect, phrase))
    return iter(seen)


def _numbers(name: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """Return each number of a name as (word before, number, word after)."""
    padded = ["", *name, ""]
    return (
        (before, word, after)
        for before, word, after in zip(padded, name, padded[2:])
        if is_number(word)
    )
