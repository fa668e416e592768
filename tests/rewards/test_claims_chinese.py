"""Chinese claims in the made-up Chinese shop: own facts pass, those of other items never do."""

from __future__ import annotations

import numpy as np
import pytest

from envs.catalogue import Catalogue
from envs.synthetic import SyntheticConfig, synthetic_catalogue
from rewards.claims import ClaimChecker


@pytest.fixture(scope="module")
def shop() -> Catalogue:
    return synthetic_catalogue(SyntheticConfig(items=60, locale="zh"), np.random.default_rng(0))


def phrases(shop: Catalogue) -> list[dict[str, str]]:
    """Phrase -> aspect of each item."""
    found: list[dict[str, str]] = [{} for _ in range(shop.n_items)]
    for item, aspect, said in zip(
        shop.facts["item_id"], shop.facts["aspect"], shop.facts["phrases"], strict=True
    ):
        found[shop.item_position[item]].update(dict.fromkeys(said, aspect))
    return found


def test_own_facts_are_supported_with_their_aspect(shop: Catalogue) -> None:
    checker = ClaimChecker(shop)
    for item, own in enumerate(phrases(shop)):
        for phrase, aspect in own.items():
            (claim,) = checker.check(item, f"推荐这款，因为有{phrase}，很适合你。").claims
            assert claim.supported, (phrase, claim)
            assert shop.aspects[claim.aspect] == aspect


def test_facts_of_other_items_are_not(shop: Catalogue) -> None:
    checker, known = ClaimChecker(shop), phrases(shop)
    for item, own in enumerate(known):
        for phrase in set(known[(item + 1) % len(known)]) - set(own):
            checked = checker.check(item, f"推荐这款，因为有{phrase}，很适合你。")
            assert checked.unsupported >= 1, (phrase, own)


def test_denied_own_facts_are_lies(shop: Catalogue) -> None:
    checker = ClaimChecker(shop)
    for item, own in enumerate(phrases(shop)):
        for phrase in own:
            assert checker.check(item, f"这款没有{phrase}。").unsupported == 1


def test_two_characters_make_a_word(shop: Catalogue) -> None:
    checker = ClaimChecker(shop)
    assert checker.check(0, "很适合你的。").words == 3
    assert checker.check(0, "适合USB和你").words == 3
