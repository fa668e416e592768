"""Ten requests that a bundle answered at its export: does it still answer them so, here?

Stored in ``selftest.json``. What may differ between machines is rounding: numbers are compared to
`TOLERANCE`, and two items whose scores are equal within it may have changed places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from envs.errors import UserError
from envs.files import read_json, write_json
from policies.bundle_answer import Bundle
from policies.bundle_rules import Filters
from policies.bundle_session import Session, SessionPage
from policies.bundle_slate import Explore
from policies.logging_policies import PlackettLuce

SELF_TEST = "selftest.json"
#: Largest difference of a score or probability, relative above one.
TOLERANCE = 1e-5

#: What is kept of an answer: all but the texts, which their reason's id stands for.
_OF_SHELF = ("scene", "shopper", "segment", "likes", "policy", "notes")
_OF_ITEM = ("item_id", "score", "reason_id", "pscore", "pscore_cascade", "pscore_item_position")

#: A request as JSON: its name, and the arguments of `Bundle.recommend`.
Request = dict[str, Any]


def make_requests(bundle: Bundle) -> list[Request]:
    """Return ten requests of all kinds that a bundle of any size can answer."""
    ids, titles = bundle.labels.ids, bundle.labels.titles
    known = bundle.profiles.shopper_ids[0]
    other = bundle.profiles.shopper_ids[len(bundle.rows) // 2]
    some = ids[:: max(len(ids) // 40, 1)][:40]
    prices = sorted(bundle.labels.prices)
    pages = [
        {"shown": some[:4], "clicked": some[:1], "bought": []},
        {"shown": some[4:8], "clicked": some[4:6], "bought": some[5:6]},
    ]
    before = "before" if "before" in bundle.reasons else "tuned"
    asked: dict[str, dict[str, Any]] = {
        "home": {"shopper": known},
        "home, ten items": {"shopper": other, "k": 10},
        "a shopper who gives no name": {"shopper": None},
        "an unknown shopper and given candidates": {"shopper": "nobody", "candidates": some},
        "search": {"shopper": known, "query": " ".join(titles[0].split()[:2])},
        "beside an item": {"shopper": other, "item": ids[-1]},
        "filters": {
            "shopper": known,
            "filters": {"max_price": prices[len(prices) // 2], "out_of_stock": some[:2]},
        },
        "a session": {"shopper": other, "session": pages},
        "exploring": {"shopper": known, "candidates": some, "explore": {"key": 2026}},
        "before": {"shopper": other, "ranker": "similarity", "reasons": before},
    }
    return [{"name": name, "ask": ask} for name, ask in asked.items()]


def answer(bundle: Bundle, request: Request) -> dict[str, Any]:
    """Return what a bundle answers, as it is kept."""
    ask = dict(request["ask"])
    if "filters" in ask:
        ask["filters"] = Filters(**ask["filters"])
    if "session" in ask:
        ask["session"] = Session([SessionPage(**page) for page in ask["session"]])
    if "explore" in ask:
        ask["explore"] = Explore(PlackettLuce(1.0), ask["explore"]["key"])
    shelf = asdict(bundle.recommend(**ask))
    return {name: shelf[name] for name in _OF_SHELF} | {
        "candidates": sorted(shelf["candidates"]),
        "items": [{name: item[name] for name in _OF_ITEM} for item in shelf["items"]],
    }


def write_self_test(bundle: Bundle, folder: Path) -> None:
    """Write the requests and what the bundle answers to them now."""
    asked = make_requests(bundle)
    write_json(folder / SELF_TEST, [one | {"answer": answer(bundle, one)} for one in asked])


def run_self_test(bundle: Bundle, folder: Path) -> int:
    """Ask the stored requests again; return how many there were.

    Raises:
        UserError: the first answer that differs, with the field, or a file that is no self-test.
    """
    try:
        stored = read_json(folder / SELF_TEST)
        for one in stored:
            difference = next(differences(one["answer"], answer(bundle, one)), None)
            if difference is not None:
                raise _answered_otherwise(folder, one["name"], *difference)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"bundle {folder}: file {SELF_TEST!r} is no self-test of this version ({error!r}); "
            "export the bundle again"
        ) from error
    return len(stored)


def _answered_otherwise(folder: Path, name: str, where: str, then: Any, now: Any) -> UserError:
    return UserError(
        f"bundle {folder}: self-test request {name!r}: {where} was {then!r} at the export and is "
        f"{now!r} here; with the library versions of its manifest it should not be: compare them, "
        "or export again"
    )


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield field, value expected and value met of each difference between two answers."""
    for name in (*_OF_SHELF, "candidates"):
        if wanted[name] != found[name]:
            yield name, wanted[name], found[name]
    then, now = wanted["items"], found["items"]
    if len(then) != len(now):
        yield "number of items", len(then), len(now)
        return
    scores = {item["item_id"]: item["score"] for item in then}
    for place, (a, b) in enumerate(zip(then, now)):
        swapped = a["item_id"] != b["item_id"]
        near = scores.get(b["item_id"])
        if swapped and (near is None or not _close(near, a["score"])):
            yield f"items[{place}].item_id", a["item_id"], b["item_id"]
            continue
        for name in _OF_ITEM[1:]:
            text = isinstance(a[name], str)
            if text and not swapped and a[name] != b[name]:
                yield f"items[{place}].{name}", a[name], b[name]
            if not text and not _close(a[name], b[name]):
                yield f"items[{place}].{name}", a[name], b[name]


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(1.0, abs(a))
