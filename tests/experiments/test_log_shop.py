"""Logs at scale: DESIGN's columns, numbered sessions, and a run that is killed and taken up."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from envs import sessions
from envs.behaviour import ShopConfig
from envs.errors import UserError
from envs.feedback import PROPENSITIES, read_feedback
from envs.reasons import ReasonTable
from envs.shop import ShopVectorEnv
from envs.world import World
from experiments.ope import log_shop
from experiments.ope.impressions import ShopNames
from experiments.ope.log_shop import LogConfig, logging_rule, write_log
from experiments.ope.replay import replay_target
from policies.baselines import Page, popularity_policy, similarity_policy
from policies.constraints import ConstraintsConfig, constrained, rules_of
from policies.constraints_chances import STANDARD_ERROR
from policies.logging_policies import EpsilonMixed, Explore, PlackettLuce, TopK
from tests.shop_at_hand import bare_world, small_shop

#: DESIGN, section 3, and what a bundle as the target asks for.
COLUMNS = [
    "session_id", "step", "slate_id", "timestamp", "shopper_id", "segment", "scene", "query",
    "position", "item_id", "reason_id", "click", "purchase", "reward", "pscore", "pscore_cascade",
    "pscore_item_position", "logging_policy", "done", "candidates",
]  # fmt: skip
SLOTS = ShopConfig().slots


@cache
def names() -> ShopNames:
    return ShopNames.of(small_shop().visitors)


def written(folder: Path, impressions: int = 3_000, **settings: Any) -> pd.DataFrame:
    config = LogConfig.model_validate({"impressions": impressions, **settings})
    write_log(bare_world(), similarity_policy(), config, folder, names=names(), seed=5)
    return read_feedback(folder)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_shop, "_BATCH", 40)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "plackett_luce(temperature=0.25) over similarity"),
        ({"logging": "epsilon"}, "epsilon(epsilon=0.1, base=top_k) over similarity"),
        ({"logging": "explore", "epsilon": 0.2}, "explore(epsilon=0.2) over similarity"),
    ],
)
def test_the_log_is_designs(tmp_path: Path, settings: dict[str, Any], name: str) -> None:
    frame = written(tmp_path, **settings)
    assert frame.columns.tolist() == COLUMNS
    assert set(frame["logging_policy"]) == {name}
    # The session that reaches the number is finished, and no other is begun.
    assert frame["slate_id"].tolist() == np.repeat(np.arange(len(frame) // SLOTS), SLOTS).tolist()
    last = frame["session_id"].iloc[-1]
    assert (frame["session_id"] < last).sum() < 3_000 <= len(frame)
    assert frame["done"].groupby(frame["session_id"]).last().all()
    assert frame.groupby("session_id")["step"].first().eq(0).all()
    assert frame["session_id"].is_monotonic_increasing
    catalogue = small_shop().visitors.catalogue
    assert set(frame["item_id"]) <= set(catalogue.items["item_id"])
    searching = frame["scene"] == "search"
    assert searching.any()
    assert set(frame.loc[searching, "query"]) <= set(catalogue.queries["query"])
    assert frame.loc[~searching, "query"].isna().all()
    assert frame["reason_id"].isna().all()  # this shop shows no reasons


def test_logged_pages_are_what_the_rule_gives_the_shops_sessions(tmp_path: Path) -> None:
    """First pages anew: session n is the shop's of seed 5 + n; propensities are the rule's."""
    frame = written(tmp_path, logging="explore", epsilon=0.4)
    first = frame[frame["step"] == 0]
    count = first["session_id"].nunique()
    env = ShopVectorEnv(bare_world(), count)
    observation, _ = env.reset(seed=5)
    shoppers = np.array(small_shop().visitors.profiles.shopper_ids)[env.state.shopper]
    assert first["shopper_id"].tolist() == np.repeat(shoppers, SLOTS).tolist()
    scores = similarity_policy().score(Page(observation, env.world, env.state, env.click_model))
    # Replaying the logged slates shows the logged items and earns the logged rewards.
    best = np.argsort(-scores, axis=1, kind="stable")
    _, _, _, _, info = env.step(best[:, :SLOTS])
    greedy = first["item_id"].to_numpy().reshape(-1, SLOTS)
    ids = small_shop().visitors.catalogue.items["item_id"].to_numpy()
    as_top = ids[info["items"]] == greedy
    # The first slot shows the best item unless it explores and draws another: a binomial share.
    candidates = env.world.config.candidates
    share = 1 - 0.4 + 0.4 / candidates
    assert abs(as_top[:, 0].mean() - share) < 3 * np.sqrt(share * (1 - share) / count)
    pscore = first["pscore_cascade"].to_numpy().reshape(-1, SLOTS)[:, 0]
    np.testing.assert_allclose(pscore, np.where(as_top[:, 0], share, 0.4 / candidates))
    same = as_top.all(axis=1)
    assert same.sum() > 5
    reward = first["reward"].to_numpy().reshape(-1, SLOTS)
    np.testing.assert_allclose(reward[same], info["slot_reward"][same], rtol=1e-6)


def test_candidates_stand_on_each_slates_first_row(tmp_path: Path) -> None:
    frame = written(tmp_path)
    listed = frame["candidates"].notna()
    assert (listed == (frame["position"] == 0)).all()
    first = frame[listed]
    shown = frame.groupby("slate_id")["item_id"].agg(set).to_dict()
    offered = first.set_index("slate_id")["candidates"].map(list)
    assert all(shown[slate] <= set(items) for slate, items in offered.items())
    # What was bought in a session is offered no more: only then are there fewer.
    bought = frame.groupby("session_id")["purchase"].transform("sum")[listed] > 0
    sizes = first["candidates"].map(len)
    assert (sizes[~bought] == bare_world().config.candidates).all()
    env = ShopVectorEnv(bare_world(), 1)
    env.reset(seed=5)
    _, items = sessions.candidates(bare_world(), env.state)
    ids = small_shop().visitors.catalogue.items["item_id"].to_numpy()
    assert list(first["candidates"].iloc[0]) == ids[items[0]].tolist()


def test_reasons_are_named_where_they_are_shown(tmp_path: Path) -> None:
    world = bare_world()
    claims = world.reasons.claims
    words = np.zeros(claims.shape[:2], dtype=np.float32)
    words[::2] = 5
    told = world.with_reasons(
        ReasonTable(claims=claims, unsupported=np.zeros_like(words), words=words)
    )
    config = LogConfig(impressions=500)
    write_log(told, popularity_policy(), config, tmp_path, names=names(), seed=1)
    frame = read_feedback(tmp_path)
    ids = small_shop().visitors.catalogue.items["item_id"].tolist()
    expected = [
        f"{item}/{segment}" if ids.index(item) % 2 == 0 else None
        for item, segment in zip(frame["item_id"], frame["segment"])
    ]
    assert frame["reason_id"].astype(object).where(frame["reason_id"].notna(), None).tolist() == (
        expected
    )


def test_no_reasons_are_named_where_the_shop_shows_none(tmp_path: Path) -> None:
    table = bare_world().reasons
    told = bare_world().with_reasons(
        ReasonTable(claims=table.claims, unsupported=table.unsupported, words=table.words + 5)
    )
    silent = told.with_config(ShopConfig(reasons="none"))
    config = LogConfig(impressions=50)
    write_log(silent, popularity_policy(), config, tmp_path / "none", names=names(), seed=1)
    assert read_feedback(tmp_path / "none")["reason_id"].isna().all()
    choice = told.with_config(ShopConfig(reasons="choice"))
    with pytest.raises(UserError, match="set it to book or none"):
        write_log(choice, popularity_policy(), config, tmp_path / "c", names=names(), seed=1)


def test_days_away_show_in_the_time(tmp_path: Path) -> None:
    world = bare_world().with_config(ShopConfig(multi_visit=True, return_bias=-1.0))
    config = LogConfig(impressions=3_000)
    write_log(world, similarity_policy(), config, tmp_path, names=names(), seed=1)
    frame = read_feedback(tmp_path)
    start = frame.groupby("session_id")["timestamp"].transform("first")
    days, rest = divmod(frame["timestamp"] - start - 60 * frame["step"], 86_400)
    assert (rest == 0).all()
    assert days.max() > 0
    assert all(d.is_monotonic_increasing for _, d in days.groupby(frame["session_id"]))


# Taking up


def test_neither_batches_nor_parts_nor_stops_change_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = written(tmp_path / "whole")
    written(tmp_path / "stopped", 700, rows_per_part=1)
    monkeypatch.setattr(log_shop, "_BATCH", 33)
    written(tmp_path / "stopped", 1_500)
    pd.testing.assert_frame_equal(written(tmp_path / "stopped"), whole)
    before = sorted(path.name for path in (tmp_path / "stopped").iterdir())
    assert len(before) >= 4
    written(tmp_path / "stopped", 100)  # long reached
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == before


_KILLED = """
    import os, signal, sys
    from pathlib import Path
    import pyarrow.parquet as pq
    from experiments.ope import log_shop
    from tests.experiments.test_log_shop import written

    whole, parts = pq.write_table, []

    def killed_in_the_second_part(table, path, **options):
        if parts:
            path.write_bytes(b"PAR1 half a part")
            os.kill(os.getpid(), signal.SIGKILL)
        parts.append(path)
        whole(table, path, **options)

    pq.write_table = killed_in_the_second_part
    log_shop._BATCH = 40
    written(Path(sys.argv[1]), rows_per_part=1000)
"""


def test_a_killed_run_is_read_and_ends_in_the_same_rows(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole")
    folder = tmp_path / "killed"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(_KILLED), str(folder)])
    assert done.returncode == -9
    left = read_feedback(folder)
    assert 1_000 <= len(left) < 3_000
    pd.testing.assert_frame_equal(left, whole.iloc[: len(left)])
    pd.testing.assert_frame_equal(written(folder), whole)
    assert not list(folder.glob(".*"))


def test_the_summary_counts_the_whole_log(tmp_path: Path) -> None:
    frame = written(tmp_path, 500)
    summary = write_log(
        bare_world(), similarity_policy(), LogConfig(impressions=1_000), tmp_path,
        names=names(), seed=5,
    )  # fmt: skip
    after = read_feedback(tmp_path)
    assert len(after) > len(frame)
    assert summary == {
        "impressions": len(after),
        "slates": after["slate_id"].nunique(),
        "sessions": after["session_id"].nunique(),
        "logging_policy": "plackett_luce(temperature=0.25) over similarity",
    }


def test_progress_ends_at_the_goal(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_log(
        bare_world(), similarity_policy(), LogConfig(impressions=2_000), tmp_path,
        names=names(), seed=5, progress=lambda done, total, _: seen.append((done, total)),
    )  # fmt: skip
    assert seen == sorted(seen)
    assert seen[-1] == (2_000, 2_000)


def test_a_log_of_another_seed_shop_or_policy_is_not_gone_on_with(tmp_path: Path) -> None:
    written(tmp_path, 100)
    config = LogConfig(impressions=200)
    other = bare_world().with_config(ShopConfig(bias=-3.0))
    for world, policy, seed, message in (
        (bare_world(), similarity_policy(), 6, "seed 5, not 6"),
        (other, similarity_policy(), 5, r"shop\.bias .*, not -3"),
        (bare_world(), popularity_policy(), 5, "over similarity', not .*over popularity"),
    ):
        with pytest.raises(UserError, match=message):
            write_log(world, policy, config, tmp_path, names=names(), seed=seed)


# Settings


def test_rules_by_name() -> None:
    assert logging_rule(LogConfig(temperature=0.5)) == PlackettLuce(0.5)
    assert logging_rule(LogConfig(logging="explore", epsilon=0.3)) == Explore(0.3)
    assert logging_rule(LogConfig(logging="epsilon")) == EpsilonMixed(0.1, TopK())
    mixed = LogConfig(logging="epsilon", base="plackett_luce", temperature=2)
    assert logging_rule(mixed) == EpsilonMixed(0.1, PlackettLuce(2))
    with pytest.raises(ValidationError, match="temperature"):
        LogConfig(temperature=0)


def test_weights_between_rules_have_mean_one(tmp_path: Path) -> None:
    """E[target / logging] = 1: first slots logged by one rule, weighed to a uniform draw."""
    frame = written(tmp_path, 6_000, logging="epsilon", epsilon=0.5, base="plackett_luce")
    first = frame[(frame["step"] == 0) & (frame["position"] == 0)]
    for name in PROPENSITIES[1:]:
        weights = 1 / bare_world().config.candidates / first[name].to_numpy()
        assert abs(weights.mean() - 1) < 3 * weights.std() / np.sqrt(len(weights))


# Rules of the shelf


def ruled_world(**asked: Any) -> World:
    catalogue = small_shop().visitors.catalogue
    return constrained(bare_world(), catalogue, ConstraintsConfig(**asked))


def test_a_log_under_rules_keeps_them_and_counts_them(tmp_path: Path) -> None:
    catalogue = small_shop().visitors.catalogue
    gone = tuple(catalogue.items["item_id"][::9])
    world = ruled_world(max_per_group=2, min_new=1, out_of_stock=gone)
    config = LogConfig(impressions=3_000, temperature=0.25)
    write_log(world, similarity_policy(), config, tmp_path, names=names(), seed=5)
    frame = read_feedback(tmp_path)  # which checks products and ranges
    assert frame.columns.tolist() == [
        *COLUMNS[:17], STANDARD_ERROR, *COLUMNS[17:],
    ]  # fmt: skip
    assert not frame["item_id"].isin(gone).any()
    offered = frame["candidates"].dropna().explode()
    assert not offered.isin(gone).any()
    kinds = frame["item_id"].map(catalogue.items.set_index("item_id")["class"])
    most = kinds.groupby([frame["slate_id"], kinds]).size().groupby(level=0).max()
    assert (most <= 2).mean() > 0.9  # on a page of too few classes the limit is raised
    kept = rules_of(world)
    assert kept is not None
    fresh = frame["item_id"].isin(catalogue.items["item_id"][kept.new])
    some = offered.isin(catalogue.items["item_id"][kept.new]).groupby(level=0).any()
    shown = fresh.groupby(frame["slate_id"]).any().to_numpy()
    np.testing.assert_array_equal(shown, some.to_numpy())


def test_weights_between_ruled_policies_have_mean_one(tmp_path: Path) -> None:
    """E[target / logging] = 1 for each kind of weight, played again under the same rules."""
    world = ruled_world(max_per_group=1, pinned={names().items[3].as_py(): 2})
    config = LogConfig(impressions=6_000, temperature=0.5)
    write_log(world, similarity_policy(), config, tmp_path, names=names(), seed=5)
    ids = names().items.to_pylist()
    found = replay_target(
        read_feedback(tmp_path), world, ids, similarity_policy(), PlackettLuce(0.4), seed=5
    )
    pages = found.groupby("slate_id")
    for name in PROPENSITIES:
        ratio = found[f"eval_{name}"] / found[name]
        by_session = ratio.groupby(found["session_id"]).agg(["sum", "size"])
        mean = by_session["sum"].sum() / by_session["size"].sum()
        rest = by_session["sum"] - mean * by_session["size"]
        error = np.sqrt((rest**2).sum()) / by_session["size"].sum()
        assert abs(mean - 1) < 4 * error, name
    assert pages.ngroups > 1_000


def test_a_log_goes_on_only_under_the_same_rules(tmp_path: Path) -> None:
    config = LogConfig(impressions=300)
    write_log(
        ruled_world(min_groups=2), similarity_policy(), config, tmp_path, names=names(), seed=5
    )
    for world in (bare_world(), ruled_world(min_groups=3)):
        with pytest.raises(UserError, match=r"constraints\.min_groups"):
            write_log(world, similarity_policy(), config, tmp_path, names=names(), seed=5)
