"""Scenes for prompts: what readers of a class of goods search for, and what they look at."""

from __future__ import annotations

import numpy as np

from envs.catalogue import Catalogue
from rewards.inflection import stem
from rewards.words import is_chinese, tokens
from sft.tasks import clean
from sft.tasks.reason import Scene


def _names(name: str, text: str) -> bool:
    """Whether a text holds all words of a name, in any inflection; in Chinese, the name itself."""
    if is_chinese(name):
        return name in text
    return {stem(word) for word in tokens(name)} <= {stem(word) for word in tokens(text)}


class Scenes:
    """Draws scenes that suit an item."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._titles = catalogue.items["title"].tolist()
        self._class = catalogue.class_index
        self._aspects = [clean(aspect) for aspect in catalogue.aspects]
        queries = catalogue.queries["query"].tolist()
        self._queries = [[q for q in queries if _names(kind, q)] for kind in catalogue.classes]
        self._items = [np.flatnonzero(self._class == c) for c in range(len(catalogue.classes))]

    def draw(self, item: int, rng: np.random.Generator) -> Scene:
        """Draw a search that names the item's class, or another item of that class, half each.

        Where no search names the class, it is another item.
        """
        kind = self._class[item]
        queries = self._queries[kind]
        if queries and rng.random() < 0.5:
            return Scene("search", queries[int(rng.integers(len(queries)))])
        return Scene("similar", self._titles[int(rng.choice(self._items[kind]))])

    def asked(self, scene: Scene) -> list[str]:
        """Return the aspects that a search names, in the order of the catalogue."""
        if scene.kind != "search":
            return []
        return [aspect for aspect in self._aspects if _names(aspect, scene.text)]
