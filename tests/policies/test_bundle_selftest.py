"""The stored requests: answered as they were, or the first difference is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import UserError
from policies.bundle import Bundle, load_bundle
from policies.bundle_check import check_whole
from policies.bundle_selftest import SELF_TEST, TOLERANCE, differences, run_self_test
from tests.policies.bundle_at_hand import Made


def stored(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / SELF_TEST).read_text())
    return found


def test_the_requests_are_of_all_kinds_and_answered(made: Made, bundle: Bundle) -> None:
    requests = stored(made.path)
    assert run_self_test(bundle, made.path) == len(requests) == 10
    assert {one["answer"]["scene"] for one in requests} == {"home", "similar", "search"}
    assert {one["answer"]["policy"] for one in requests} == {
        "top_k", "plackett_luce(temperature=1)",
    }  # fmt: skip
    assert {one["answer"]["shopper"] is None for one in requests} == {True, False}
    assert all(one["answer"]["items"] for one in requests)
    given = {name for one in requests for name in one["ask"]}
    assert given == {
        "shopper", "query", "item", "candidates", "k", "filters", "session", "explore", "ranker",
        "reasons",
    }  # fmt: skip


def test_torch_answers_the_same(made: Made) -> None:
    bundle = load_bundle(made.path, verify=False, backend="torch")
    assert run_self_test(bundle, made.path) == 10


def test_the_whole_check_counts_what_it_looked_at(made: Made) -> None:
    checked = check_whole(made.path)
    assert (checked.schema, checked.requests) == (2, 10)
    assert checked.files == made.returned["files"]
    assert checked.reasons == len(made.book.table) + len(made.before.table)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "score": (
        lambda answer: answer["items"][1].update(score=answer["items"][1]["score"] + 0.01),
        r"'home': items\[1\]\.score was .* at the export and is",
    ),
    "item": (
        lambda answer: answer["items"][0].update(item_id="other"),
        r"'home': items\[0\]\.item_id was 'other'",
    ),
    "reason": (
        lambda answer: answer["items"][2].update(reason_id="I01/0/00000000"),
        r"'home': items\[2\]\.reason_id was",
    ),
    "scene": (lambda answer: answer.update(scene="search"), "'home': scene was 'search'"),
    "fewer": (lambda answer: answer["items"].pop(), "'home': number of items was 3 "),
    "candidates": (lambda answer: answer["candidates"].pop(), "'home': candidates was"),
    "no answer": (lambda answer: answer.clear(), "is no self-test of this version"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_first_difference_is_one_clear_line(
    bundle: Bundle, made: Made, tmp_path: Path, change: str
) -> None:
    damage, message = CHANGES[change]
    requests = stored(made.path)
    damage(requests[0]["answer"])
    (tmp_path / SELF_TEST).write_text(json.dumps(requests))
    with pytest.raises(UserError, match=message) as raised:
        run_self_test(bundle, tmp_path)
    assert str(raised.value).startswith(f"bundle {tmp_path}: ")
    assert "\n" not in str(raised.value)


def test_another_ranker_in_its_place_is_found_out(made: Made, tmp_path: Path) -> None:
    """All digests may be right, and the answers wrong: another library's, say."""
    copy = Path(shutil.copytree(made.path, tmp_path / "bundle"))
    bundle = load_bundle(copy)
    shifted = bundle.logits

    def other(observation: dict[str, Any]) -> Any:
        return shifted(observation) + np.float32(1e-3)

    object.__setattr__(bundle, "logits", other)
    with pytest.raises(UserError, match=re.escape("self-test request 'home': items[0].score")):
        run_self_test(bundle, copy)


def test_rounding_may_swap_equal_items_and_nothing_else() -> None:
    def answer(*items: tuple[str, float]) -> dict[str, Any]:
        rest = dict.fromkeys(("scene", "shopper", "segment", "likes", "policy", "notes"), "")
        shown = [
            {
                "item_id": item, "score": score, "reason_id": item, "pscore": 1.0,
                "pscore_cascade": 1.0, "pscore_item_position": 1.0,
            }
            for item, score in items
        ]  # fmt: skip
        return rest | {"candidates": [], "items": shown}

    then = answer(("a", 1.0), ("b", 1.0 - TOLERANCE / 2))
    assert not list(differences(then, answer(("b", 1.0 - TOLERANCE / 2), ("a", 1.0))))
    assert not list(differences(then, answer(("a", 1.0 + TOLERANCE / 2), ("b", 1.0))))
    assert list(differences(then, answer(("a", 1.0), ("c", 1.0))))
    far = answer(("a", 1.0), ("b", 0.9))
    assert next(differences(far, answer(("b", 0.9), ("a", 1.0))))[0] == "items[0].item_id"
