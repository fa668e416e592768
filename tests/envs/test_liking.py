"""Likes: learned from histories alone, and read by the shop as by whoever asks for a page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from envs import sessions
from envs.assemble import find_visitors
from envs.catalogue import Catalogue
from envs.counter_rng import new_keys
from envs.liking import BANDS, Likes, learn_likes, nothing_known
from envs.observation import ITEM_FEATURES, LIKING_FEATURES, item_features
from envs.shoppers import ShopperConfig, observe_profiles
from envs.synthetic import SyntheticConfig, synthetic_catalogue
from envs.world import World
from tests.shop_at_hand import bare_world, small_shop

LIKING = [ITEM_FEATURES.index(name) for name in LIKING_FEATURES]


def scores(likes: Likes) -> NDArray[np.float64]:
    """Taste scores of all shoppers and items, (U, I)."""
    tastes = slice(likes.items.shape[1] - len(BANDS))
    return likes.shoppers[:, tastes].astype(float) @ likes.items[:, tastes].T.astype(float)


def test_products_are_in_units_of_their_spread_and_classes_around_zero() -> None:
    visitors = small_shop().visitors
    likes = learn_likes(visitors.catalogue, visitors.profiles)
    width, tastes = likes.items.shape[1], likes.items.shape[1] - len(BANDS)
    for part in (slice(tastes), slice(tastes, width)):
        found = likes.shoppers[:, part].astype(float) @ likes.items[:, part].T
        assert (found**2).mean() == pytest.approx(1, rel=1e-4)
        np.testing.assert_allclose(likes.items[:, part].mean(axis=0), 0, atol=1e-6)
    of_class = likes.shoppers[:, width:].astype(float)[:, visitors.catalogue.class_index]
    np.testing.assert_allclose(of_class.mean(axis=1), 0, atol=1e-6)


def test_who_met_a_class_is_expected_to_like_it(hand_catalogue: Catalogue) -> None:
    """Two lamps and two mugs: who met lamps alone is expected to like lamps more than others do."""
    profiles = observe_profiles(hand_catalogue, 2, np.random.default_rng(0))
    likes = learn_likes(hand_catalogue, profiles)
    of_class = likes.shoppers[:, likes.items.shape[1] :]
    share = np.zeros_like(of_class)
    np.add.at(
        share, (profiles.history_rows, hand_catalogue.class_index[profiles.history_items]),
        profiles.history_weights,
    )  # fmt: skip
    most, least = share[:, 0].argmax(), share[:, 0].argmin()
    assert share[most, 0] > share[least, 0]
    assert of_class[most, 0] > of_class[least, 0]


def with_last_events_held_out(
    catalogue: Catalogue, shuffle: np.random.Generator | None
) -> tuple[Likes, NDArray[np.int64]]:
    """Likes from histories without each shopper's last event, and the items of those events."""
    history = catalogue.history.sort_values(["shopper_id", "timestamp"], kind="stable")
    if shuffle is not None:
        items = history["item_id"].to_numpy()
        history = history.assign(item_id=items[shuffle.permutation(len(items))])
    last = ~history["shopper_id"].duplicated(keep="last")
    known = replace(catalogue, history=history[~last].reset_index(drop=True))
    likes = learn_likes(known, observe_profiles(known, 8, np.random.default_rng(0)))
    held = [catalogue.item_position[item] for item in history.loc[last, "item_id"]]
    return likes, np.array(held, dtype=np.int64)


def test_the_next_event_is_foretold_and_that_of_shuffled_histories_is_not() -> None:
    rng = np.random.default_rng(3)
    items = synthetic_catalogue(SyntheticConfig(items=240), rng)
    catalogue = find_visitors(items, ShopperConfig(shoppers=600), rng).catalogue
    for shuffle in (None, rng):
        likes, held = with_last_events_held_out(catalogue, shuffle)
        found = scores(likes)
        # Against the same items in the hands of other shoppers: what all like does not count.
        own = found[np.arange(len(held)), held] - found[:, held].mean(axis=0)
        band = 3 * own.std(ddof=1) / np.sqrt(len(own))
        assert (own.mean() > band) == (shuffle is None)


def test_neither_the_order_of_events_nor_their_merging_makes_a_difference() -> None:
    """A bundle's histories say what was met, once an item, and no longer when."""
    visitors = small_shop().visitors
    known = visitors.profiles
    met: dict[tuple[int, int], np.float32] = {}
    for row, item, weight in zip(known.history_rows, known.history_items, known.history_weights):
        met[row, item] = met.get((row, item), np.float32(0)) + weight
    assert len(met) < len(known.history_rows), "some items were met twice"
    pairs = np.array(list(met))[np.random.default_rng(1).permutation(len(met))]
    merged = replace(
        known, history_rows=pairs[:, 0], history_items=pairs[:, 1],
        history_weights=np.array([met[row, item] for row, item in pairs], dtype=np.float32),
    )  # fmt: skip
    one, other = (learn_likes(visitors.catalogue, profiles) for profiles in (known, merged))
    np.testing.assert_array_equal(one.shoppers, other.shoppers)
    np.testing.assert_array_equal(one.items, other.items)


def liked_world() -> World:
    """The small shop, with what its histories tell of its shoppers."""
    visitors = small_shop().visitors
    return replace(bare_world(), likes=learn_likes(visitors.catalogue, visitors.profiles))


def test_the_average_shopper_is_one_row_more() -> None:
    likes = liked_world().liked
    more = likes.with_average()
    np.testing.assert_array_equal(more.shoppers[:-1], likes.shoppers)
    np.testing.assert_allclose(more.shoppers[-1], likes.shoppers.mean(axis=0), atol=1e-6)
    assert more.shoppers.dtype == np.float32


def first_page(world: World) -> tuple[sessions.SessionState, NDArray[np.int64]]:
    state = sessions.start(world, new_keys(np.random.default_rng(4), 40))
    return state, sessions.candidates(world, state)[1]


def test_a_page_shows_how_its_items_suit_what_is_expected() -> None:
    world = liked_world()
    state, items = first_page(world)
    likes = world.liked
    who, what = likes.shoppers[state.shopper].astype(float), likes.items[items].astype(float)
    width, tastes = what.shape[-1], what.shape[-1] - len(BANDS)
    seen = sessions.observe(world, state)["items"][..., LIKING]
    taste = np.einsum("ba,bna->bn", who[:, :tastes], what[..., :tastes])
    price = np.einsum("ba,bna->bn", who[:, tastes:width], what[..., tastes:])
    np.testing.assert_allclose(seen[..., 0], taste, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(seen[..., 1], price, rtol=1e-4, atol=1e-5)
    of_class = who[np.arange(len(who))[:, None], width + world.class_index[items]]
    np.testing.assert_array_equal(seen[..., 2], of_class.astype(np.float32))


def test_service_reads_likes_as_the_shop_does() -> None:
    world = liked_world()
    state, items = first_page(world)
    columns = sessions.candidates(world, state)[0]
    nothing = np.zeros((len(items), world.n_classes), dtype=np.float32)
    arguments = (
        world.facts, items, world.pools.scores[state.anchor[:, None], columns],
        world.segment[state.shopper], world.price_level[state.shopper], nothing, nothing,
    )  # fmt: skip
    served = item_features(*arguments, likes=world.liked, shopper=state.shopper)
    np.testing.assert_array_equal(served, sessions.observe(world, state)["items"])
    unknown = item_features(*arguments)
    assert not unknown[..., LIKING].any()
    np.testing.assert_array_equal(np.delete(unknown, LIKING, -1), np.delete(served, LIKING, -1))


def test_a_row_reads_the_same_likes_alone_and_in_a_batch() -> None:
    world = liked_world()
    keys = new_keys(np.random.default_rng(4), 12)
    many = sessions.observe(world, sessions.start(world, keys))["items"]
    alone = [sessions.observe(world, sessions.start(world, keys[[b]]))["items"] for b in range(12)]
    np.testing.assert_array_equal(many, np.concatenate(alone))


def test_a_world_without_likes_expects_nothing() -> None:
    for world in (liked_world(), replace(bare_world(), likes=None)):
        seen = sessions.observe(world, first_page(world)[0])["items"][..., LIKING]
        assert seen.any() == (world.likes is not None)
    assert not nothing_known(3, 2, 4).shoppers.any()
