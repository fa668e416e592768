"""What a bundle answers: scenes, sessions, exploring, switches, facts; quickly and from threads."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import policies
from envs.anchor_scores import query_anchor, scores_of, shopper_anchor
from envs.behaviour import ShopConfig
from envs.counter_rng import new_keys
from envs.errors import UserError
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES, REASON_FEATURES
from envs.sessions import SIMILAR, candidates, observe, start
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES, item_anchors, query_anchors, score, score_pairs, shopper_anchors
from policies.bundle import Bundle, Explore, Filters, Session, SessionPage, Shelf, load_bundle
from policies.bundle_session import past_of
from policies.constraints import ConstraintsConfig, shelf_rules
from policies.logging_policies import EpsilonMixed, LoggingPolicy, PlackettLuce
from policies.logging_policies import Explore as ExploreSlots
from tests.policies.bundle_at_hand import SETTINGS, Made

ROOT = Path(policies.__file__).parents[1]
#: Sums of at most 64 products of unit vectors, in another order.
ROUNDING = 64 * float(np.finfo(np.float32).eps)


def ids(shelf: Shelf) -> list[str]:
    return [item.item_id for item in shelf.items]


def all_ids(bundle: Bundle) -> list[str]:
    return bundle.catalogue.items["item_id"].tolist()


# The scores of one anchor.


@pytest.mark.parametrize("scene", ["home", "similar", "search"])
def test_one_anchors_scores_are_those_of_the_batch(bundle: Bundle, scene: str) -> None:
    index, profiles = bundle.index, bundle.profiles
    some = np.array([5, 3, 40, 7])
    for row in range(0, 60, 7):
        if scene == "home":
            slow = shopper_anchors(index, profiles, np.array([row]))
            quick = shopper_anchor(index, profiles, bundle.met, row)
        elif scene == "similar":
            slow = item_anchors(index, np.array([row]))
            quick = bundle.beside(0, row).place.anchor
        else:
            words = " ".join(bundle.catalogue.items["title"].iloc[row].split()[:3])
            slow, quick = query_anchors(index, [words]), query_anchor(index, words)
        whole = score(index, slow)[0]
        np.testing.assert_allclose(scores_of(index, quick), whole, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(
            scores_of(index, quick, some), whole[some], rtol=0, atol=ROUNDING
        )
        pairs = score_pairs(index, slow, some[None])[0]
        np.testing.assert_allclose(scores_of(index, quick, some), pairs, rtol=0, atol=ROUNDING)


def test_given_candidates_answer_as_if_the_whole_catalogue_had_been_scored(made: Made) -> None:
    bundle = load_bundle(made.path, verify=False)
    given = np.arange(3, 60)
    for row, shopper in enumerate(bundle.profiles.shopper_ids[:10]):
        names = [all_ids(bundle)[item] for item in given]
        found = bundle.recommend(shopper, candidates=names, k=10)
        assert "scores" not in vars(bundle.home(row).place)
        whole = score(bundle.index, shopper_anchors(bundle.index, bundle.profiles, np.array([row])))
        slow = bundle.observation_for(bundle.home(row), given)
        slow["items"][0, :, : len(SCORES)] = whole[0, given]
        logits = bundle.logits(slow)[0]
        order = np.argsort(-np.round(logits, 5), kind="stable")[:10]
        assert ids(found) == [names[place] for place in order]
        np.testing.assert_allclose([i.score for i in found.items], logits[order], atol=1e-5)


# Scenes.


def test_beside_an_item_its_like_are_shown_and_not_itself(made: Made, bundle: Bundle) -> None:
    shopper = bundle.profiles.shopper_ids[3]
    for item in all_ids(bundle)[:5]:
        shelf = bundle.recommend(shopper, item=item, k=30)
        assert (shelf.scene, shelf.notes) == ("similar", [])
        assert item not in ids(shelf)
        assert item not in shelf.candidates
        assert len(shelf.candidates) == SETTINGS.pool
    given = all_ids(bundle)[:4]
    shelf = bundle.recommend(shopper, item=given[0], candidates=given, k=3)
    assert sorted(ids(shelf)) == sorted(given[1:])
    assert shelf.notes == ["1 of the candidates are looked at in this visit."]


def test_observation_beside_an_item_is_the_shops_own(made: Made, bundle: Bundle) -> None:
    config = ShopConfig(candidates=20, words_free=SETTINGS.words_free, start_home=0, start_search=0)
    world = made.shop.world(config).with_reasons(made.book.arrays)
    state = start(world, new_keys(np.random.default_rng(1), 64))
    live, items = observe(world, state), candidates(world, state)[1]
    assert (state.scene == SIMILAR).all()
    for session in range(0, 64, 5):
        row = int(state.shopper[session])
        visit = bundle.beside(row, int(world.last_item[row]))
        found = bundle.observation_for(visit, items[session])
        np.testing.assert_array_equal(found["context"][0], live["context"][session])
        np.testing.assert_allclose(found["items"][0], live["items"][session], rtol=0, atol=ROUNDING)


def test_an_unknown_item_to_stand_beside_gets_the_home_shelf(bundle: Bundle) -> None:
    shopper = bundle.profiles.shopper_ids[0]
    shelf = bundle.recommend(shopper, item="nothing")
    assert shelf.notes == ["Item 'nothing' is not known: this is the home shelf."]
    assert (shelf.scene, shelf.items) == ("home", bundle.recommend(shopper).items)
    with pytest.raises(UserError, match="a query or an item to stand beside, not both"):
        bundle.recommend(shopper, query="lamp", item="nothing")


def test_unknown_candidates_are_left_out_and_said(bundle: Bundle) -> None:
    known = all_ids(bundle)[:3]
    shelf = bundle.recommend(bundle.profiles.shopper_ids[0], candidates=["x", *known, "y"], k=3)
    assert sorted(ids(shelf)) == sorted(known)
    assert shelf.notes == [
        "2 items among the candidates are not in this bundle and were left out: 'x', 'y'."
    ]


# Sessions.


def test_a_session_is_what_the_shop_saw(made: Made, bundle: Bundle) -> None:
    """Pages of the shop, told as a session: context, exposure, clicked classes, bought items."""
    config = ShopConfig(
        slots=4, candidates=20, words_free=SETTINGS.words_free, bias=1.5, buy_bias=2.0,
        leave_bias=-9, start_home=1, start_search=0, follow_click=0, new_query=0,
    )  # fmt: skip
    world = made.shop.world(config).with_reasons(made.book.arrays)
    env = ShopVectorEnv(world, 12, seed=4)
    before, _ = env.reset()
    rng = np.random.default_rng(0)
    names = all_ids(bundle)
    pages: list[list[SessionPage]] = [[] for _ in range(12)]
    shoppers, ended = env.state.shopper.copy(), np.zeros(12, dtype=bool)
    met = Counter[str]()
    for _ in range(4):
        # What was bought is off the shelf.
        slates = np.argsort(-rng.random((12, 20)) * before["mask"], axis=1)[:, :4]
        seen, _, terminated, truncated, info = env.step(slates)
        before = seen
        ended |= terminated | truncated
        _, items = candidates(world, env.state)
        for row in np.flatnonzero(~ended):
            shown = [names[item] for item in info["items"][row]]
            clicked, bought = (
                [name for name, did in zip(shown, info[what][row]) if did]
                for what in ("clicks", "purchases")
            )
            pages[row].append(SessionPage(list(dict.fromkeys(shown)), clicked, bought))
            past = bundle.past(Session(pages[row]))
            visit = bundle.home(int(shoppers[row]))
            found = bundle.observation_for(visit, items[row], past)
            np.testing.assert_array_equal(found["context"][0], seen["context"][row])
            np.testing.assert_allclose(found["items"][0], seen["items"][row], rtol=0, atol=ROUNDING)
            gone = {names[item] for item in items[row][seen["mask"][row] == 0]}
            assert gone <= {names[item] for item in past.bought}
            met.update(clicks=len(clicked), bought=len(bought), gone=len(gone))
    assert min(met["clicks"], met["bought"], met["gone"]) > 3


def test_bought_items_are_not_shown_again(bundle: Bundle) -> None:
    shopper = bundle.profiles.shopper_ids[0]
    first = ids(bundle.recommend(shopper))
    session = Session([SessionPage(first, clicked=first[:1], bought=first[:2])])
    shelf = bundle.recommend(shopper, session=session, k=30)
    assert not set(first[:2]) & set(ids(shelf))
    assert not set(first[:2]) & set(shelf.candidates)
    assert len(shelf.candidates) == SETTINGS.pool
    assert shelf.notes == []
    given = bundle.recommend(shopper, session=session, candidates=first, k=2)
    assert sorted(ids(given)) == sorted(first[2:])
    assert given.notes == ["2 of the candidates were bought in this visit."]
    strange = bundle.recommend(shopper, session=Session([SessionPage(["who"], ["who"])]))
    assert strange.notes == [
        "1 items of the session are not in this bundle and were left out: 'who'."
    ]
    assert ids(bundle.recommend(shopper, session=Session())) == first


def test_a_session_by_hand() -> None:
    position, kinds = {"a": 0, "b": 1, "c": 2}, np.array([0, 1, 1])
    pages = [SessionPage(["a", "b"], clicked=["a"]), SessionPage(["c", "c", "a"], bought=["c"])]
    past = past_of(Session(pages), position, kinds, 2, 4, SETTINGS.session)
    # gain .35, decay .8, four slots: .0875 an item, and the first page fades once.
    assert past.exposure.tolist() == pytest.approx([0.0875 * 1.8, 0.0875 * 1.8])
    assert past.clicked.tolist() == [1, 1]
    assert (past.page, past.clicks_last, past.clicks, past.purchases) == (2, 1, 2, 1)
    assert past.bought.tolist() == [2]
    long = past_of(Session(pages * 20), position, kinds, 2, 4, SETTINGS.session)
    assert long.page == SETTINGS.session.max_pages - 1


# Exploring.

RULES: list[LoggingPolicy] = [PlackettLuce(0.7), EpsilonMixed(0.3), ExploreSlots(0.25)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_explored_slates_come_as_often_as_their_propensities_say(
    bundle: Bundle, rule: LoggingPolicy
) -> None:
    given = all_ids(bundle)[10:14]
    shopper = bundle.profiles.shopper_ids[4]
    draws = 3_000
    shelves = [
        bundle.recommend(shopper, candidates=given, k=2, explore=Explore(rule, key))
        for key in range(draws)
    ]
    counts = Counter(tuple(ids(shelf)) for shelf in shelves)
    known = {tuple(ids(shelf)): shelf.items for shelf in shelves}
    assert {shelf.policy for shelf in shelves} == {rule.name}
    assert sum(items[0].pscore for items in known.values()) == pytest.approx(1, abs=0.01)
    for slate in permutations(given, 2):
        chance = known[slate][0].pscore if slate in known else 0.0
        # Four standard deviations of a binomial count, over at most 12 slates.
        band = 4 * np.sqrt(draws * chance * (1 - chance)) + 1
        assert abs(counts[slate] - draws * chance) < band, slate
    for (top, _), (first, second) in known.items():
        assert first.pscore == second.pscore == pytest.approx(second.pscore_cascade)
        starts = sum(items[0].pscore for other, items in known.items() if other[0] == top)
        assert first.pscore_cascade == pytest.approx(first.pscore_item_position, rel=1e-9)
        assert first.pscore_cascade == pytest.approx(starts, abs=0.01)


def test_exploring_keeps_the_bundles_rules(bundle: Bundle) -> None:
    asked = ConstraintsConfig(max_per_group=1, pinned={all_ids(bundle)[7]: 1})
    settings = SETTINGS.model_copy(update={"constraints": asked})
    popularity = bundle.reasons["tuned"].facts.seen[:, 1]
    strict = replace(
        bundle,
        manifest=bundle.manifest.model_copy(update={"settings": settings}),
        rules=shelf_rules(asked, bundle.catalogue, popularity, settings.slots),
    )
    kind = dict(zip(all_ids(bundle), bundle.catalogue.items["class"]))
    for key in range(20):
        shelf = strict.recommend(None, explore=Explore(PlackettLuce(1.0), key))
        assert ids(shelf)[0] == all_ids(bundle)[7]
        assert shelf.items[0].pscore_cascade == 1
        assert len({kind[item] for item in ids(shelf)}) == SETTINGS.slots
        assert 0 < shelf.items[0].pscore < 1


def test_the_best_shelf_is_certain_and_a_key_decides_a_draw(bundle: Bundle) -> None:
    best = bundle.recommend(None)
    assert best.policy == "top_k"
    assert all(
        item.pscore == item.pscore_cascade == item.pscore_item_position == 1 for item in best.items
    )
    assert [item.position for item in best.items] == list(range(SETTINGS.slots))
    ask = lambda key: bundle.recommend(None, explore=Explore(PlackettLuce(2.0), key))  # noqa: E731
    assert ask(5) == ask(5)
    assert len({tuple(ids(ask(key))) for key in range(10)}) > 5
    nothing = bundle.recommend(
        None, filters=Filters(min_price=1e9), explore=Explore(PlackettLuce(1.0), 0)
    )
    assert nothing.items == nothing.candidates == []


# Before and after.


def test_the_similarity_ranker_is_the_equal_weight_mean(bundle: Bundle) -> None:
    shopper = bundle.profiles.shopper_ids[6]
    shelf = bundle.recommend(shopper, ranker="similarity", k=20)
    visit = bundle.home(6)
    wanted = bundle.candidates(visit)[:20]
    assert ids(shelf) == [all_ids(bundle)[item] for item in wanted]
    for item in shelf.items:
        assert item.score == pytest.approx(np.mean(list(item.similarity.values())), abs=1e-6)
    told = bundle.recommend(shopper, ranker="similarity", explained=True).items[0]
    groups = {name for name, part in told.contributions.items() if abs(part) > 1e-6}
    assert groups <= set(SCORES)


def test_reasons_from_before_and_none(made: Made, bundle: Bundle) -> None:
    shopper = bundle.profiles.shopper_ids[1]
    before, rows = bundle.recommend(shopper, reasons="before"), made.before.lookup()
    for item in before.items:
        if item.reason:
            assert item.reason == rows[item.item_id, before.segment]["text"]
    silent = bundle.recommend(shopper, reasons="none")
    assert {(item.reason, item.reason_source, item.reason_id) for item in silent.items} == {
        ("", "none", "")
    }
    # The ranker sees what is shown: the shop's own features under each book.
    for name, book in (("tuned", made.book), ("before", made.before)):
        world = made.shop.world(ShopConfig(words_free=SETTINGS.words_free))
        wanted = world.with_reasons(book.arrays).facts.reasons
        np.testing.assert_array_equal(bundle.reasons[name].facts.reasons, wanted)
    seen = bundle.observation_for(bundle.home(1), np.arange(9), book=bundle.reasons["none"])
    columns = [ITEM_FEATURES.index(name) for name in REASON_FEATURES]
    assert not seen["items"][0][:, columns].any()
    with pytest.raises(UserError, match="must be one of tuned, before, none in this"):
        bundle.recommend(shopper, reasons="x")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="ranker must be tuned or similarity, but is 'x'"):
        bundle.recommend(shopper, ranker="x")  # type: ignore[arg-type]


def test_facts_stand_where_the_reason_says_them(bundle: Bundle) -> None:
    facts = bundle.catalogue.facts
    told = 0
    for shopper in bundle.profiles.shopper_ids[:10]:
        for item in bundle.recommend(shopper, k=10).items:
            assert [fact.phrase.lower() for fact in item.facts] == item.claims
            if item.reason:
                assert item.reason_id.startswith(f"{item.item_id}/")
            own = facts[facts["item_id"] == item.item_id]
            for fact in item.facts:
                assert item.reason[fact.start : fact.end] == fact.phrase
                row = own[
                    (own["aspect"] == fact.aspect)
                    & (own["key"] == fact.key)
                    & (own["value"] == fact.value)
                ]
                assert len(row) == 1
                phrases = [phrase.lower() for phrase in row["phrases"].iloc[0]]
                assert any(fact.phrase.lower() in phrase for phrase in phrases)
                told += 1
    assert told > 50


# Threads, and what it takes.


def test_answers_are_the_same_again_and_from_threads(made: Made) -> None:
    def questions(bundle: Bundle) -> list[dict[str, Any]]:
        names, shoppers = all_ids(bundle), bundle.profiles.shopper_ids
        page = SessionPage(names[:4], clicked=names[:1], bought=names[1:2])
        return [
            {"shopper": shopper, **more}
            for shopper in [*shoppers[:12], "nobody"]
            for more in (
                {},
                {"query": "small light", "explained": True},
                {"item": names[5], "session": Session([page])},
                {"candidates": names[:50], "explore": Explore(PlackettLuce(1.0), 3)},
                {"reasons": "before", "filters": Filters(max_price=80)},
            )
        ]

    alone, shared = load_bundle(made.path, verify=False), load_bundle(made.path, verify=False)
    asked = questions(alone)
    wanted = [alone.recommend(**question) for question in asked]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda question: shared.recommend(**question), asked * 3))
    assert found == wanted * 3


def test_loading_and_answering_import_nothing_heavy(made: Made, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from policies.bundle import Explore, Session, SessionPage, load_bundle
from policies.logging_policies import PlackettLuce
bundle = load_bundle(Path({str(made.path)!r}))
session = Session([SessionPage([bundle.labels.ids[0]])])
explore = Explore(PlackettLuce(1.0), 1)
shelves = [
    bundle.recommend(None, query='light', explained=True),
    bundle.recommend(None, item=bundle.labels.ids[3], session=session, explore=explore),
]
assert all(len(shelf.items) == 4 for shelf in shelves)
heavy = ('torch', 'ray', 'trl', 'gymnasium', 'transformers', 'peft', 'sklearn', 'onnx')
print(*(name for name in heavy if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_context_features_of_a_first_page_are_zero_but_for_scene_and_price(bundle: Bundle) -> None:
    seen = bundle.observation_for(bundle.home(0), np.arange(3))["context"][0]
    named = dict(zip(CONTEXT_FEATURES, seen.tolist()))
    named.pop("price_level")
    assert named.pop("scene_home") == 1
    assert set(named.values()) == {0}
