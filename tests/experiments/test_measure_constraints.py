"""What rules cost: paired with none, and counted as they were shown."""

from __future__ import annotations

import pytest

from experiments.console import Console
from experiments.measure_constraints import as_markdown, cases, cost
from policies.baselines import similarity_policy
from policies.constraints import ConstraintsConfig
from tests.shop_at_hand import bare_world, small_shop

CATALOGUE = small_shop().visitors.catalogue


def test_rows_say_what_was_shown_and_what_it_cost() -> None:
    asked = {
        "idle": ConstraintsConfig(),
        "varied": ConstraintsConfig(max_per_group=1),
        "new": ConstraintsConfig(min_new=2),
    }
    rows = cost(bare_world(), similarity_policy(), CATALOGUE, asked, range(60), Console(quiet=True))
    none, idle, varied, new = rows
    assert [row["rules"] for row in rows] == ["no rules", *asked]
    # Rules that ask nothing change nothing, and the same session is paired with itself.
    assert idle == none | {"rules": "idle"}
    assert (none["diff"], none["low"], none["high"], none["relaxed"]) == (0, 0, 0, 0)
    assert varied["groups"] > none["groups"] + 1
    assert new["new"] > none["new"] + 0.5
    for row in (varied, new):
        assert row["diff"] == pytest.approx(row["return"] - none["return"])
        assert row["low"] < row["diff"] < row["high"]
    # On a page that can keep the rules, five slots show five classes.
    assert varied["groups"] >= 5 - 4 * varied["relaxed"]
    table = as_markdown(rows).splitlines()
    assert len(table) == 2 + len(rows)
    assert len({line.count("|") for line in table}) == 1


def test_the_usual_rules_fit_the_small_shop() -> None:
    for name, config in cases(CATALOGUE, bare_world().popularity).items():
        assert not config.idle, name
        assert config.contradiction(5) is None
