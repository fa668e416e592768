"""Whether a number in a text is the item's: the right amount of the right thing."""

from __future__ import annotations

from itertools import takewhile

from rewards.knowledge import KnownQuantity
from rewards.quantities import Quantity, holds
from rewards.view import Finding, View
from rewards.words import is_chinese

#: How far, in atoms, words on either side say what a number measures.
REACH, CHINESE_REACH = 5, 8
#: Words of a bound: "no more than".
LONGEST_BOUND = 3
_ARTICLES = ("a", "an", "the")


def measured(view: View, at: int) -> Finding | None:
    """Judge the quantity at atom ``at``; None where it claims nothing ("a day").

    It is supported by a quantity of the item with the same amount, or that keeps the bound the
    text states, unless the words around say that it measures something else.
    """
    stated = view.quantities[at]
    start, end, relation = _bound(view, at)
    heads = view.shop.heads.get(stated.dimension, {})
    said = _around(view, at, frozenset(heads))
    of_dimension = [
        known for known in view.item.quantities if known.quantity.dimension == stated.dimension
    ]
    roles = [known for known in of_dimension if not said or said & known.heads]
    counted = view.word(at) not in _ARTICLES
    if _other_verb(view, start, stated.dimension):
        roles = []
    true = [known for known in roles if holds(relation, stated, known.quantity)]
    if true and (said or counted) and not _strange(view, end, stated, true):
        return Finding(start, end, "quantity", true[0].aspect, True, "quantity of the item")
    if not counted and view.words[view.last[at] - 1] in view.lexicon.ordinary:
        return None
    aspects = [known.aspect for known in roles] if said else []
    aspects += [heads[head] for head in sorted(said)]
    stop = _over_heads(view, end, heads)
    elsewhere = any(holds("eq", stated, known.quantity) for known in of_dimension)
    rule = "quantity of something else" if elsewhere else "no fact has this quantity"
    return Finding(start, stop, "quantity", aspects[0] if aspects else -1, False, rule)


def bounded(view: View, at: int) -> bool:
    """Whether the text states a bound of the quantity at ``at``: "more than a 30-hour battery"."""
    before = view.word(_stop(view, at) - 1)
    if before in view.lexicon.ordinary and before not in view.lexicon.bound_ends:
        return False
    # "If you care about 50 cm ...": what is only about right is no bound to check.
    return _bound(view, at)[2] not in ("eq", "near")


def number(view: View, at: int) -> Finding | None:
    """Judge the bare number at atom ``at``; None where it stands in a name of the item."""
    token = view.first[at]
    before = view.words[token - 1] if token else ""
    after = view.words[token + 1] if token + 1 < len(view.words) else ""
    word = view.words[token]
    # "The Aura 300 is ...": a title goes on only where the next word claims nothing.
    ended = view.broken(at + 1) or after in view.lexicon.ordinary
    # 一只 ("a"): a number that is part of an ordinary word counts nothing.
    if (
        word in view.lexicon.ordinary
        or word in view.item.words
        or word + after in view.lexicon.ordinary
        or any(
            own == word and left in ("", before) and (right in ("", after) or (left and ended))
            for left, own, right in view.item.named_numbers
        )
    ):
        return None
    heads = view.shop.heads.get("#", {})
    # What stands behind its hyphen is what it counts, and no claim of its own.
    end = max(_over_heads(view, at + 1, heads), view.after_word(at))
    aspect = next((heads[k] for k in view.keys[at + 1 : end] if k in heads), -1)
    return Finding(at, end, "number", aspect, False, "no fact has this number")


def _bound(view: View, at: int) -> tuple[int, int, str]:
    """Return where a quantity with its bound begins and ends, and the relation it states."""
    bounds = view.lexicon.bounds
    stop = _stop(view, at)
    for length in range(LONGEST_BOUND, 0, -1):
        start = stop - length
        if start < 0 or any(view.broken(place) for place in range(start + 1, at + 1)):
            continue
        keys = view.words[view.first[start] : view.first[stop]]
        if not keys:  # parts of one token: "3x4"
            continue
        text = ("" if is_chinese(keys[0]) else " ").join(keys)
        if text in bounds:
            return start, at + 1, bounds[text]
    for length in (2, 1):
        text = "".join(view.words[view.last[at] : view.last[at] + length])
        if text in bounds and is_chinese(text):
            return at, at + 1 + length, bounds[text]
    return at, at + 1, "eq"


def _stop(view: View, at: int) -> int:
    """Return where a bound of the quantity at ``at`` would end: an article may follow it."""
    return at - 1 if view.word(at - 1) in _ARTICLES else at


def _around(view: View, at: int, heads: frozenset[str]) -> frozenset[str]:
    """Return the words near atom ``at`` that say what it measures, within its clause."""
    reach = CHINESE_REACH if view.chinese else REACH
    found: set[str] = set()
    for place in range(at + 1, min(at + 1 + reach, view.size)):
        if view.broken(place) or place in view.quantities:
            break
        if view.keys[place] in heads:
            found.add(str(view.keys[place]))
    if found:
        # What follows names the quantity ("16 GB memory"); what stands before it may be another's.
        return frozenset(found)
    for place in range(at - 1, max(at - 1 - reach, -1), -1):
        if view.broken(place + 1) or place in view.quantities:
            break
        if view.keys[place] in heads:
            found.add(str(view.keys[place]))
    return frozenset(found)


def _strange(view: View, after: int, stated: Quantity, facts: list[KnownQuantity]) -> bool:
    """Whether the very next word is no word of the fact: "30-hour speaker"."""
    if after >= view.size or view.broken(after) or is_chinese(view.word(after)):
        return False
    key, word, lexicon = view.keys[after], view.word(after), view.lexicon
    if not isinstance(key, str) or word in lexicon.ordinary or word in lexicon.negators:
        return False
    if key in view.shop.heads.get(stated.dimension, {}):
        return not any(key in known.heads for known in facts)
    return not measuring(view, after, stated.dimension) and not view.named(key)


def _other_verb(view: View, at: int, dimension: str) -> bool:
    """Whether the word before a quantity goes with another dimension: "weighs 50 m"."""
    while at > 0 and not view.broken(at):
        at -= 1
        word, lists = view.word(at), view.lexicon.measuring
        if word not in view.lexicon.ordinary and any(word in words for words in lists.values()):
            return not measuring(view, at, dimension)
        if word not in view.lexicon.ordinary:
            return False
    return False


def measuring(view: View, at: int, dimension: str) -> bool:
    """Whether the word at ``at`` goes with a quantity of a dimension: "weighs" with a mass."""
    word, lists = view.word(at), view.lexicon.measuring
    return word in lists["any"] or word in lists.get(dimension, frozenset())


def measures(view: View, at: int) -> bool:
    """Whether the word at ``at`` only leads to a quantity or comparison: "weighs 250 g".

    If it does not fit the quantity, the quantity is the claim that fails, not the verb.
    """
    if not any(view.word(at) in words for words in view.lexicon.measuring.values()):
        return False
    after = view.after_word(at)
    if not view.broken(after) and view.word(after) in view.lexicon.comparatives:
        return True
    ahead = range(at + 1, min(at + 1 + REACH, view.size))
    behind = range(at, max(at - REACH, 0), -1)
    return any(
        place in view.quantities for place in takewhile(lambda p: not view.broken(p), ahead)
    ) or any(
        place - 1 in view.quantities for place in takewhile(lambda p: not view.broken(p), behind)
    )


def _over_heads(view: View, at: int, heads: dict[str, int]) -> int:
    """Return the end of the words from ``at`` on that say what a wrong number measures."""
    while at < view.size and not view.broken(at):
        key = view.keys[at]
        if key not in heads and key != "个":
            break
        at += 1
    return at
