"""Shelves and feedback through the application."""

from __future__ import annotations

from tests.service.conftest import Client


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
