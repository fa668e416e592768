"""Likes: learned from histories alone, and read by the shop as by whoever asks for a page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from envs import sessions
from envs.assemble import find_visitors
from envs.catalogue import Catalogue
from envs.counter_rng import new_keys
from envs.liking import BANDS, Likes, learn_likes, nothing_known
from envs.observation import ITEM_FEATURES, LIKING_FEATURES, item_features
from envs.shoppers import Profiles, ShopperConfig, observe_profiles, price_z
from envs.synthetic import SyntheticConfig, synthetic_catalogue
from envs.world import World
from tests.shop_at_hand import bare_world, small_shop

LIKING = [ITEM_FEATURES.index(name) for name in LIKING_FEATURES]


def scores(likes: Likes) -> NDArray[np.float64]:
    """Taste scores of all shoppers and items, (U, I)."""
    tastes = slice(likes.items.shape[1] - len(BANDS))
    return likes.shoppers[:, tastes].astype(float) @ likes.items[:, tastes].T.astype(float)


def described(catalogue: Catalogue, item: int) -> list[float]:
    """What an event says, for one item, from the definition."""
    x, kinds = catalogue.aspect_matrix.astype(float), catalogue.class_index
    unit = [row / np.linalg.norm(row) if row.any() else row for row in x]
    peers = [unit[other] for other in range(len(x)) if kinds[other] == kinds[item]]
    surplus = unit[item] - np.mean(peers, axis=0)
    z = float(price_z(catalogue)[item])
    bands = [float(np.exp(-((z - middle) ** 2) / 2)) for middle in BANDS]
    return [*surplus, *bands, *(float(kinds[item] == k) for k in range(len(catalogue.classes)))]


def by_the_book(catalogue: Catalogue, profiles: Profiles) -> NDArray[np.float64]:
    """Expected next event of each shopper (U, D): loops over events, and scikit-learn's ridge."""
    weights: dict[tuple[int, int], float] = {}
    events_of = zip(profiles.history_rows, profiles.history_items, profiles.history_weights)
    for row, item, weight in events_of:
        weights[row, item] = weights.get((row, item), 0.0) + float(weight)
    triples = [(row, item, weight) for (row, item), weight in weights.items()]
    count = len(profiles.shopper_ids)
    met = [[(described(catalogue, i), w) for r, i, w in triples if r == u] for u in range(count)]
    past = np.array([sum(w * np.array(d) for d, w in events) for events in met])
    mean, spread = past.mean(axis=0), np.maximum(past.std(axis=0), 1e-6)

    def believed(average: NDArray[np.float64], events: float) -> NDArray[np.float64]:
        return (average - mean) / spread * events / (events + 10)

    many = [1 / sum(w * w for _, w in events) for events in met]
    inputs, targets = [], []
    for u, events in enumerate(met):
        for j, (d, _) in enumerate(events):
            others = [e for k, e in enumerate(events) if k != j]
            if others:
                told, shares = zip(*others)
                average = np.average(np.array(told), axis=0, weights=shares)
                inputs.append(believed(average, many[u] - 1))
                targets.append(np.array(d) - mean)
    ridge = Ridge(alpha=0.03 * len(inputs) + 100, fit_intercept=False)
    ridge.fit(np.array(inputs), np.array(targets))
    return mean + ridge.predict(np.array([believed(p, n) for p, n in zip(past, many)]))


def test_likes_are_a_ridge_regression_of_each_event_on_the_others(
    hand_catalogue: Catalogue,
) -> None:
    profiles = observe_profiles(hand_catalogue, 2, np.random.default_rng(0))
    likes = learn_likes(hand_catalogue, profiles)
    expected = by_the_book(hand_catalogue, profiles)
    traits = np.array([described(hand_catalogue, item)[:5] for item in range(4)])
    aspects, bands, classes = slice(0, 2), slice(2, 5), slice(5, 7)
    level = traits[:, bands].mean(axis=0)
    for part, off in ((aspects, np.zeros(2)), (bands, level)):
        product = (expected[:, part] - off) @ (traits[:, part] - off).T
        found = likes.shoppers[:, part].astype(float) @ likes.items[:, part].T
        np.testing.assert_allclose(found, product / np.sqrt((product**2).mean()), rtol=2e-4)
        assert (found**2).mean() == pytest.approx(1, rel=1e-4)
    # Two lamps and two mugs: each class is half of the catalogue.
    lift = np.log((np.maximum(expected[:, classes], 0) + 0.01) / 0.51)
    np.testing.assert_allclose(likes.shoppers[:, classes], lift, rtol=1e-4, atol=1e-6)


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


def test_who_met_one_item_only_is_taken_for_the_average(hand_catalogue: Catalogue) -> None:
    once = hand_catalogue.history.drop_duplicates("shopper_id")
    catalogue = replace(hand_catalogue, history=once.reset_index(drop=True))
    likes = learn_likes(catalogue, observe_profiles(catalogue, 2, np.random.default_rng(0)))
    # No event stands beside another: nothing is learned, and nobody is told from the others.
    np.testing.assert_allclose(likes.shoppers - likes.shoppers[0], 0, atol=1e-6)


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
