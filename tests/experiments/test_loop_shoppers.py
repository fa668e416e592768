"""Simulated shoppers over HTTP: they behave as those of the simulation, and every answer counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.behaviour import ShopConfig
from envs.errors import UserError
from envs.feedback import read_feedback
from experiments.loop_shoppers import Connections, PagesMet, visit
from experiments.ope.impressions import ShopNames
from experiments.served import served
from experiments.simulate import play
from policies.baselines import ranker_policy
from policies.service.export import ExportOptions, export_log
from tests.policies.bundle_at_hand import SETTINGS, make_bundle

_SHOPPERS, _FIRST = 60, 40


def test_visits_over_http_are_those_of_the_simulation(tmp_path: Path) -> None:
    """Same sessions, same ranker: the service sees what the simulated shop lets a ranker see."""
    made = make_bundle(tmp_path / "bundle", None)
    config = ShopConfig(slots=SETTINGS.slots, words_free=SETTINGS.words_free, bias=-3.0)
    world = made.shop.world(config).with_reasons(made.book.arrays)
    played = play(world, ranker_policy(made.scorer), _SHOPPERS, _FIRST)
    assert played.clicks.sum() > 30, "too few clicks to tell anything apart"

    met, store = PagesMet(_SHOPPERS), tmp_path / "store.db"
    with served(made.path, store, tmp_path / "service.log") as (url, _):
        connections = Connections(url, 4)
        names = ShopNames.of(made.shop.visitors)
        seeds = range(_FIRST, _FIRST + _SHOPPERS)
        visits = visit(connections, world, names, seeds, met=met)
        with pytest.raises(UserError, match="POST /v1/shelf was answered with 422"):
            connections.post("/v1/shelf", {"k": 0})
        connections.close()
    np.testing.assert_allclose(visits.reward, played.reward, atol=1e-6)
    np.testing.assert_array_equal(visits.pages, played.pages)
    pages, clicked = int(visits.pages.sum()), int(played.clicks.sum())
    assert sum(len(state.shopper) for state in met.states) == pages
    assert connections.answers["POST /v1/shelf 200"] == pages

    # What was earned comes back in the log, to the click.
    worth = ExportOptions(w_click=config.w_click, w_buy=config.w_buy)
    told = export_log(f"sqlite:///{store}", tmp_path / "log", worth)
    log = read_feedback(tmp_path / "log")
    assert (told["slates"], told["clicks"], len(log)) == (pages, clicked, pages * SETTINGS.slots)
    assert told["purchases"] == played.purchases.sum()
    # Margins stand in the log in single precision.
    assert log["reward"].sum() == pytest.approx(visits.earned.sum(), rel=1e-5)
