"""A ranker learned from what came back: pages as they were, what they teach, and what is said."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from envs.errors import UserError
from envs.feedback import write_feedback
from envs.files import sha256
from envs.observation import ITEM_FEATURES
from experiments.console import Console, StrictVerdict
from experiments.ope.bundle_target import page_chances
from experiments.retrain import RetrainOptions, retrain
from policies.bundle import Bundle, Explore, Session, SessionPage, load_bundle
from policies.bundle_check import check_whole
from policies.logging_policies import PlackettLuce
from policies.ranker.config import WarmStartConfig
from policies.ranker.from_log import learn, rebuild
from policies.ranker.scorer import SlateScorer, load_scorer
from policies.ranker.warm_start import mean_spread
from tests.policies.bundle_at_hand import make_bundle

#: Visits of the log, two pages each.
_VISITS = 300
_RULE = PlackettLuce(4.0)
_WANTED = ITEM_FEATURES.index("text")
_OPTIONS = RetrainOptions(temperature=4.0, fit=WarmStartConfig(epochs=30, minibatch=64))


@dataclass(frozen=True)
class Logged:
    """A bundle, and a log of its sampled shelves whose shoppers click on what is near in text."""

    path: Path
    bundle: Bundle
    frame: pd.DataFrame


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    path = make_bundle(tmp_path_factory.mktemp("plain") / "bundle", None).path
    bundle, rng = load_bundle(path), np.random.default_rng(4)
    frame = pd.concat([_visit(bundle, visit, rng) for visit in range(_VISITS)], ignore_index=True)
    return Logged(path, bundle, frame)


def _visit(bundle: Bundle, visit: int, rng: np.random.Generator) -> pd.DataFrame:
    shopper = bundle.profiles.shopper_ids[visit % len(bundle.rows)] if visit % 7 else None
    asked: dict[str, Any] = {}
    if visit % 3 == 1:
        asked["item"] = bundle.labels.ids[visit % 80]
    elif visit % 3 == 2:
        asked["query"] = bundle.labels.titles[visit % 80].split()[0]
    pages: list[dict[str, Any]] = []
    rows = []
    for step in range(2):
        shelf = bundle.recommend(
            shopper, **asked, session=Session([SessionPage(**page) for page in pages]),
            explore=Explore(_RULE, 2 * visit + step), k=3 if visit % 11 == 0 else None,
        )  # fmt: skip
        clicks = [int(rng.random() < one.similarity["text"]) for one in shelf.items]
        for one, click in zip(shelf.items, clicks):
            rows.append(
                {
                    "session_id": f"v{visit}", "step": step, "slate_id": f"{visit}-{step}",
                    "timestamp": 1_800_000_000 + 60 * visit + step, "shopper_id": shopper,
                    "query": asked.get("query") if shelf.scene == "search" else None,
                    "beside": asked.get("item"), "pages": json.dumps(pages) if pages else None,
                    "position": one.position, "item_id": one.item_id, "click": click,
                    "reward": float(click), "pscore": one.pscore,
                    "pscore_cascade": one.pscore_cascade,
                    "pscore_item_position": one.pscore_item_position,
                    "logging_policy": shelf.policy,
                    "candidates": None if one.position else shelf.candidates,
                }
            )  # fmt: skip
        shown = [one.item_id for one in shelf.items]
        clicked = [item for item, click in zip(shown, clicks) if click]
        pages.append({"shown": shown, "clicked": clicked, "bought": clicked[:1]})
    return pd.DataFrame(rows)


def test_pages_are_rebuilt_as_they_were_scored(logged: Logged) -> None:
    found = rebuild(logged.frame, logged.bundle)
    assert (len(found.pages), found.dropped) == (2 * _VISITS, {})
    chances = page_chances(found.pages, logged.bundle, _RULE, len(logged.frame))
    for name, values in chances.items():
        np.testing.assert_allclose(values, logged.frame[name], rtol=1e-5)


def test_returns_go_on_within_a_visit_only(logged: Logged) -> None:
    found = rebuild(logged.frame, logged.bundle, gamma=0.5)
    earned = logged.frame.groupby(["session_id", "step"])["reward"].sum()
    for page, value in zip(found.pages, found.returns):
        row = logged.frame.iloc[page.rows[0]]
        wanted = earned[row["session_id"], row["step"]]
        if row["step"] == 0:
            wanted += 0.5 * earned[row["session_id"], 1]
        assert value == pytest.approx(wanted)


def test_pages_that_cannot_be_rebuilt_are_counted(logged: Logged) -> None:
    frame = logged.frame.copy()
    starts = np.flatnonzero(frame["position"] == 0).tolist()
    frame.loc[starts[0], "item_id"] = "discontinued"
    frame.loc[starts[3], "pages"] = "[{}]"
    offered = frame["candidates"].tolist()
    offered[starts[1]] = None
    offered[starts[2]] = ["discontinued"]
    shown = set(frame["item_id"][starts[4] : starts[5]])
    offered[starts[4]] = [item for item in offered[starts[4]] if item not in shown]
    frame["candidates"] = offered
    found = rebuild(frame, logged.bundle)
    assert found.dropped == {
        "unknown item": 2, "no candidates": 1, "unreadable visit": 1, "shown but no candidate": 1,
    }  # fmt: skip
    assert len(found.pages) == 2 * _VISITS - 5
    with pytest.raises(UserError, match=r"no page of the log can be rebuilt.*discontinued"):
        rebuild(frame.loc[starts[0] : starts[1] - 1], logged.bundle)
    with pytest.raises(UserError, match=r"learning from a log needs column 'candidates'"):
        rebuild(frame.drop(columns="candidates"), logged.bundle)


def _without_prices(scorer: SlateScorer) -> SlateScorer:
    other = deepcopy(scorer)
    for weight in other.prices.parameters():
        weight.data.zero_()
    return other


def test_what_earns_comes_first_and_the_spread_stays(logged: Logged) -> None:
    scorer = load_scorer(logged.path / "ranker")
    before = {name: weight.clone() for name, weight in scorer.state_dict().items()}
    pages = rebuild(logged.frame, logged.bundle).laid_out(
        logged.frame["reward"].to_numpy(dtype=np.float32)
    )
    # Pages differ in length, and some show three items only: what is added is masked.
    assert float(pages.seen["mask"][:, -1].max()) == 0
    new = learn(scorer, pages, _OPTIONS.fit, seed=0)
    # What a crowd costs is kept, and the rest spreads as it did.
    assert all(
        torch.equal(part, before[f"prices.{n}"]) for n, part in new.prices.named_parameters()
    )
    assert float(before["prices.bias"].abs().min()) > 0
    bare = [_without_prices(one) for one in (scorer, new)]
    assert mean_spread(bare[1], pages) == pytest.approx(mean_spread(bare[0], pages), rel=1e-4)
    assert all(torch.equal(weight, before[name]) for name, weight in scorer.state_dict().items())

    def follows(one: Any) -> float:
        """Mean correlation of the logits with what shoppers click for."""
        with torch.no_grad():
            logits = one.logits(**pages.seen)
        found = []
        for row, mask in enumerate(pages.seen["mask"] > 0):
            wanted = pages.seen["items"][row, mask, _WANTED]
            if float(wanted.std()) > 0:
                found.append(np.corrcoef(logits[row, mask], wanted)[0, 1])
        return float(np.mean(found))

    assert follows(new) > 0.6 > 0.4 > follows(scorer)
    nothing = torch.zeros_like(pages.rewards)
    with pytest.raises(UserError, match="no click and no purchase"):
        learn(scorer, type(pages)(pages.seen, pages.slates, nothing, pages.returns),
              _OPTIONS.fit, seed=0)  # fmt: skip


def test_the_new_bundle_says_what_it_learned_from(logged: Logged, tmp_path: Path) -> None:
    log, out = tmp_path / "log.parquet", tmp_path / "new"
    write_feedback(logged.frame, log)
    told = retrain(logged.path, log, out, _OPTIONS, Console(quiet=True))
    assert told["verdict"] == "after is better than before"
    assert (told["pages"], told["learned_from"], told["held_out"]) == (2 * _VISITS, 210, 90)
    values = {one["target"]: one for one in told["comparison"]["policies"]}
    # The log was sampled from the old ranker at this temperature: its value is the log's own.
    assert values["before"]["value"] == pytest.approx(values["logged"]["value"])
    (pair,) = [p for p in told["comparison"]["pairs"] if {p["a"], p["b"]} == {"before", "after"}]
    # Paired, the difference is far surer than either value.
    assert pair["high"] - pair["low"] < values["after"]["high"] - values["after"]["low"]

    assert check_whole(out).requests == 10
    new = load_bundle(str(out))
    assert new.id == told["bundle"] != logged.bundle.id
    kept = new.manifest.retrained
    assert kept is not None
    assert kept.bundle == f"{logged.bundle.manifest.name} ({logged.bundle.id})"
    assert (kept.impressions, kept.slates) == (len(logged.frame), 2 * _VISITS)
    assert kept.first == "2027-01-15T08:00:00+00:00"
    assert kept.logging_policies == ("plackett_luce(temperature=4)",)
    assert new.manifest.ope["verdict"] == kept.verdict == told["verdict"]
    assert new.manifest.evaluation == []
    card = (out / "MODEL_CARD.md").read_text()
    assert "fitted to what the shelves of a feedback log earned" in card
    assert "SNIIPS of after" in card
    assert "histories of 60 shoppers" in card
    earlier = out / "earlier" / f"{logged.bundle.id}.md"
    assert sha256(earlier) == sha256(logged.path / "MODEL_CARD.md")
    for name in ("reasons.parquet", "catalogue/items.parquet"):
        assert new.manifest.files[name] == logged.bundle.manifest.files[name]

    # Unless told otherwise, slates are valued as the service sampled them.
    served = {"bundle": logged.bundle.id, "logging_policy": f"{_RULE.name} over tuned"}
    write_feedback(logged.frame.assign(**served), log)
    plain = replace(_OPTIONS, temperature=None)
    again = retrain(out, log, tmp_path / "newer", plain, Console(quiet=True))
    assert again["temperature"] == 4.0
    assert len(list((tmp_path / "newer" / "earlier").iterdir())) == 2
    assert again["verdict"] != told["verdict"], "there is nothing left to learn from this log"


def test_strict_writes_nothing_where_the_log_does_not_tell(logged: Logged, tmp_path: Path) -> None:
    log, out = tmp_path / "log.parquet", tmp_path / "new"
    # Had the best shelf always been shown, no other ranker could be valued.
    write_feedback(
        logged.frame.assign(pscore=1.0, pscore_cascade=1.0, pscore_item_position=1.0), log
    )
    strict = RetrainOptions(temperature=0.05, fit=_OPTIONS.fit, strict=True)
    with pytest.raises(StrictVerdict, match="not enough overlap to conclude; no bundle is written"):
        retrain(logged.path, log, out, strict, Console(quiet=True))
    assert not out.exists()
    write_feedback(logged.frame[logged.frame["session_id"] < "v11"], tmp_path / "few.parquet")
    with pytest.raises(UserError, match=r"visits came back; at least 20 .* collect 67 or more"):
        retrain(logged.path, tmp_path / "few.parquet", out, _OPTIONS, Console(quiet=True))
    with pytest.raises(UserError, match="exists and is not empty"):
        retrain(logged.path, log, logged.path, _OPTIONS, Console(quiet=True))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_samples_nothing_is_told_at_once(temperature: float) -> None:
    with pytest.raises(UserError, match="temperature must be above 0"):
        RetrainOptions(temperature=temperature)
