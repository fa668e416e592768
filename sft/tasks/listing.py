"""Tasks about an item alone: its tags, and its description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from envs.catalogue import Catalogue
from sft.tasks.briefs import ItemBrief
from sft.tasks.text import clean, line, shorten

#: Facts that become tags, the strongest.
TAGGED = 3
#: Words of a reference description; a longer one is cut after a sentence.
DESCRIPTION_WORDS = 60

#: What parts the tags of a line.
JOINT = {"en": ", ", "zh": "、"}

_TAGS = {"en": "tags", "zh": "标签"}
_DESCRIPTION = {"en": "description", "zh": "描述"}
_CLASS = {"en": "class", "zh": "类别"}
_BRAND = {"en": "brand", "zh": "品牌"}


@dataclass(frozen=True)
class ListingInput:
    """An item as its shop lists it."""

    brief: ItemBrief
    #: Class of the item ("headphones").
    kind: str
    brand: str


def listings(catalogue: Catalogue, briefs: Sequence[ItemBrief]) -> list[ListingInput]:
    """Return how the shop lists every item, in item order; ``briefs`` are those of its items."""
    kinds, brands = catalogue.items["class"].tolist(), catalogue.items["brand"].tolist()
    return [ListingInput(*row) for row in zip(briefs, kinds, brands)]


def _fields(given: ListingInput) -> list[str]:
    """Return title, class, brand and facts as fields; what is not known is left out."""
    locale = given.brief.locale
    named = ((_CLASS[locale], given.kind), (_BRAND[locale], given.brand))
    parts = [given.brief.title]
    parts += [f"{key}: {clean(value)}" for key, value in named if clean(value)]
    return parts + [f"{aspect}: {phrase}" for aspect, phrase in given.brief.facts]


class TagsTask:
    """A line of tags to find the item by: its class, its brand, its strongest facts."""

    name = "tags"

    def prompt(self, given: ListingInput) -> str:
        """Return ``title | class: c | brand: b | aspect: phrase | ... | tags ->``."""
        return line(_fields(given), _TAGS, given.brief.locale)

    def target(self, told: ListingInput) -> str:
        """Return the tags, each once, parted by commas."""
        strongest = [phrase for _, phrase in told.brief.facts[:TAGGED]]
        tags = [clean(told.kind), clean(told.brand), *strongest]
        return JOINT[told.brief.locale].join(dict.fromkeys(tag for tag in tags if tag))


class DescriptionTask:
    """A short text for the product page, from the item's facts."""

    name = "description"

    def prompt(self, given: ListingInput) -> str:
        """Return ``title | class: c | brand: b | aspect: phrase | ... | description ->``."""
        return line(_fields(given), _DESCRIPTION, given.brief.locale)

    def target(self, told: str) -> str:
        """Return a reference description on one line, of whole sentences where it is too long."""
        return shorten(" ".join(told.split()), DESCRIPTION_WORDS)
