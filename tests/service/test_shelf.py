"""Shelves and feedback through the application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envs.errors import UserError
from policies.logging_policies import PlackettLuce
from policies.service.messages import ShelfRequest
from policies.service.shelves import make_shelf, serve_bundle
from tests.service.conftest import Client


def _ids(shelf: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in shelf["items"]]


def test_a_purchase_of_a_shown_item_is_stored_once(client: Client) -> None:
    shelf = client.shelf(shopper="s01", k=3)
    assert [item["position"] for item in shelf["items"]] == [0, 1, 2]
    event = {
        "event_id": "e1",
        "slate_id": shelf["slate_id"],
        "item_id": shelf["items"][1]["item_id"],
        "type": "purchase",
    }
    assert client.feedback(event).json() == {"stored": 1, "duplicates": 0}
    assert client.feedback(event, event).json() == {"stored": 0, "duplicates": 2}


def test_the_answer_is_the_bundle_s_own(client: Client) -> None:
    bundle = client.service.room.served.bundle
    for asked in ({"shopper": "s05"}, {"shopper": "s05", "query": "headphones"}, {}):
        shelf = client.shelf(**asked)
        own = bundle.recommend(asked.get("shopper"), query=asked.get("query"))
        assert _ids(shelf) == [item.item_id for item in own.items]
        assert (shelf["scene"], shelf["shopper"], shelf["notes"]) == (
            own.scene, own.shopper, own.notes
        )  # fmt: skip
        assert shelf["bundle"]["id"] == bundle.id
        for item, its in zip(shelf["items"], own.items, strict=True):
            assert item["reason"] == its.reason
            assert item["similarity"] == pytest.approx(its.similarity, abs=1e-4)
            assert item["score"] == pytest.approx(its.score, abs=1e-5)


def test_facts_stand_where_they_say(client: Client) -> None:
    found = 0
    for shopper in ("s01", "s02", "s03", "s04"):
        for item in client.shelf(shopper=shopper, k=8)["items"]:
            for fact in item["facts"]:
                assert item["reason"][fact["start"] : fact["end"]] == fact["phrase"]
                found += 1
    assert found > 10


def test_what_was_asked_for_is_kept(client: Client) -> None:
    plain = client.shelf(shopper="s01", k=6)
    first, second, *_ = _ids(plain)
    assert first not in _ids(client.shelf(shopper="s01", k=6, out_of_stock=[first]))
    limit = sorted(item["price"] for item in plain["items"])[2]
    cheap = client.shelf(shopper="s01", k=6, max_price=limit)
    assert all(item["price"] <= limit for item in cheap["items"])
    assert set(_ids(client.shelf(shopper="s01", candidates=[first, second]))) == {first, second}
    beside = client.shelf(shopper="s01", item=first)
    assert beside["scene"] == "similar"
    assert first not in _ids(beside)
    silent = client.shelf(shopper="s01", reasons="none")["items"]
    assert all((item["reason"], item["reason_id"]) == ("", None) for item in silent)
    explained = client.shelf(shopper="s01", k=2, explain=True)["items"]
    assert all(item["contributions"] for item in explained)
    assert all(item["contributions"] == {} for item in plain["items"])


def test_a_visit_goes_on(client: Client) -> None:
    first = client.shelf(shopper="s01")
    bought = _ids(first)[0]
    page = {"shown": _ids(first), "clicked": [bought], "bought": [bought]}
    session = {"session_id": first["session_id"], "pages": [page]}
    second = client.shelf(shopper="s01", session=session)
    assert (second["session_id"], second["step"]) == (first["session_id"], 1)
    assert bought not in _ids(second)
    assert second["slate_id"] != first["slate_id"]
    another = client.shelf(shopper="s01")
    assert another["session_id"] != first["session_id"]


def test_the_shop_offers_what_a_request_may_name(client: Client) -> None:
    shop = client.ask("GET", "/v1/shop").json()
    shopper, query, item = shop["shoppers"][3], shop["queries"][0], shop["items"][0]
    shelf = client.shelf(shopper=shopper["shopper"])
    assert (shelf["shopper"], shelf["likes"]) == (shopper["shopper"], shopper["likes"])
    assert client.shelf(query=query)["scene"] == "search"
    assert client.shelf(item=item["item_id"])["scene"] == "similar"
    for reasons in shop["reasons"]:
        client.shelf(reasons=reasons)
    assert len(client.shelf()["items"]) == shop["bundle"]["slots"]
    assert shop["keys_needed"] is False


def test_where_scores_lie_too_far_apart_to_explore_the_best_shelf_is_shown(client: Client) -> None:
    served = client.service.room.served
    made = make_shelf(served, ShelfRequest(shopper="s01"), PlackettLuce(1e-4))
    best = served.bundle.recommend("s01")
    assert [item["item_id"] for item in made.answer["items"]] == [i.item_id for i in best.items]
    assert made.answer["policy"] == "top_k"
    assert made.refused is not None
    # A request that is itself at fault is told so.
    with pytest.raises(UserError, match="not in this bundle"):
        make_shelf(served, ShelfRequest(candidates=["none"]), PlackettLuce(1e-4))


def test_a_temperature_that_suits_no_page_is_found_before_anything_is_served(
    bundle_path: Path,
) -> None:
    with pytest.raises(UserError, match=r"temperature .* is too low"):
        serve_bundle(bundle_path, explore=PlackettLuce(1e-4))
