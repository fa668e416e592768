"""`shelftalk simulate` from config to result: names, options, and mistakes in one line."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import UserError
from envs.presets import PRESETS
from experiments.cli import cli
from experiments.config import Config, layered
from experiments.config_io import config_as_dict, load_config, validate_config
from experiments.console import Console, run_cli
from experiments.simulate import TRAINING_SEEDS, evaluate, play, search_mix, search_stay, traffic
from experiments.simulate_field import Field, field_of_config, shop_config
from policies.baselines import mix_policy, oracle_policy
from tests.shop_at_hand import bare_world

SMALL = """
name: small
catalogue: {kind: synthetic, items: 60}
shoppers: {shoppers: 60, segments: 3, types: 3}
similarity: {dimensions: 16, pool: 24}
shop: {candidates: 8, slots: 3, max_pages: 5}
simulate: {search_sessions: 40, search_mixes: 2}
"""


@cache
def small_field() -> Field:
    sections = {
        "catalogue": {"kind": "synthetic", "items": 60},
        "shoppers": {"shoppers": 60, "segments": 3, "types": 3},
        "similarity": {"dimensions": 16, "pool": 24},
        "shop": {"candidates": 8, "slots": 3, "max_pages": 5},
        "simulate": {"search_sessions": 40, "search_mixes": 2},
    }
    config = Config.model_validate({"name": "small", **sections})
    return field_of_config(config, Console(quiet=True))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def shelftalk(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        run_cli(cli, [str(word) for word in words])
    said = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, said.out, said.err


def one_line(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code, out, err = shelftalk(capsys, "simulate", *words, "--quiet", "--sessions", 20)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err


# --- presets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lies_under_what_the_file_sets(name: str) -> None:
    config = Config.model_validate(
        {"name": "t", "preset": name, "shop": {"start_search": 0.2, "start_home": 0.2}}
    )
    assert config.preset == name
    assert (config.shop.start_search, config.shop.start_home) == (0.2, 0.2)
    for section, settings in PRESETS[name].items():
        for key, value in settings.items():
            if key not in ("start_search", "start_home"):
                assert getattr(getattr(config, section), key) == value
    # What a run folder keeps is the same config again.
    assert validate_config(Config, config_as_dict(config), "run") == config


def test_layers_merge_sections_and_leave_both_as_they_were() -> None:
    below = {"a": {"x": 1, "y": 2}, "b": {"z": 3}, "c": 1}
    above = {"a": {"x": 9}, "b": 4, "d": 5}
    assert layered(below, above) == {"a": {"x": 9, "y": 2}, "b": 4, "c": 1, "d": 5}
    assert below == {"a": {"x": 1, "y": 2}, "b": {"z": 3}, "c": 1}
    assert above == {"a": {"x": 9}, "b": 4, "d": 5}


def test_an_unknown_preset_is_told_apart(small: Path) -> None:
    with pytest.raises(UserError, match=r"--set: preset: .*'browsing', 'mission' or 'sceptical'"):
        load_config(Config, small, ["preset=browsig"])


# --- names -----------------------------------------------------------------------------------


def test_names_choose_policy_and_reasons() -> None:
    field = small_field()
    plain, told = field.contestants(["popularity", "popularity+rules"])
    assert plain.policy is told.policy
    assert (plain.world.reasons.words == 0).all()
    assert (told.world.reasons.words > 0).all()
    assert (told.world.reasons.unsupported == 0).all()  # the rule-based writer does not lie
    assert field.book_of("popularity") is None
    assert field.contestants(["random"])[0].world is plain.world


def test_what_is_searched_for_is_found_on_training_sessions() -> None:
    field = small_field()
    mix, oracle = field.contestants(["best_mix", "oracle"])
    world, settings = mix.world, field.config.simulate
    weights = search_mix(
        world, settings.search_mixes, settings.search_sessions, TRAINING_SEEDS,
        np.random.default_rng(field.search_seed),
    )  # fmt: skip
    stay = search_stay(world, settings.search_sessions, TRAINING_SEEDS)
    for one, known in ((mix, mix_policy("m", weights)), (oracle, oracle_policy(stay))):
        np.testing.assert_array_equal(
            play(world, one.policy, 30, 3).reward, play(world, known, 30, 3).reward
        )


def test_contestants_must_differ_by_name() -> None:
    one = small_field().contestants(["random"])
    with pytest.raises(ValueError, match="each name once"):
        evaluate([*one, *one], range(20))
    for seeds in (range(0, 20, 2), range(5, 6), range(-3, 9)):
        with pytest.raises(ValueError, match="seeds must be"):
            evaluate(one, seeds)


def test_traffic_is_counted_by_item_and_by_session() -> None:
    world = bare_world()
    policy = small_field().policy("random")
    found, played = traffic(world, policy, range(5, 65)), play(world, policy, 60, 5)
    for name in ("pages", "impressions", "clicks", "purchases"):
        np.testing.assert_array_equal(getattr(found, name), getattr(played, name))
    assert found.item_impressions.sum() == played.impressions.sum()
    assert found.item_clicks.sum() == played.clicks.sum()
    assert found.item_purchases.sum() == played.purchases.sum()
    assert (found.item_clicks <= found.item_impressions).all()


# --- the command -----------------------------------------------------------------------------


def test_the_command_writes_what_it_found(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "simulate", small, "--preset", "mission", "--set", "shop.slots=2", "--sessions", 40,
        "--policies", "similarity, myopic+rules", "--seed", 3, "--quiet", "--json",
    ]  # fmt: skip
    code, out, err = shelftalk(capsys, *words, "-", "--report", tmp_path / "page.html")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    assert found["shop"]["preset"] == "mission"
    assert (found["shop"]["items"], found["sessions"], found["seed"]) == (60, 40, 3)
    assert list(found["policies"]) == ["similarity", "myopic+rules"]
    assert {pair["a"] + " - " + pair["b"] for pair in found["paired"]} == {
        "myopic+rules - similarity"
    }
    assert found["statistics"]["policy"] == "similarity"
    assert found["statistics"]["traffic"]["sessions"] == 40
    assert "mission" in (tmp_path / "page.html").read_text(encoding="utf-8")
    code, out, _ = shelftalk(capsys, *words, "-")
    assert json.loads(out) == found


def test_mistakes_are_one_line(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Did you mean 'similarity'" in one_line(capsys, small, "--policies", "similarty")
    assert "+none or +rules" in one_line(capsys, small, "--policies", "random+ppo")
    assert "named twice" in one_line(capsys, small, "--policies", "random,random")
    assert "--set: preset: must be" in one_line(capsys, small, "--preset", "browse")
    assert "no such file" in one_line(capsys, tmp_path / "smal.yaml")
    assert "--set: catalogue.locale" in one_line(capsys, small, "--locale", "fr")
    (tmp_path / "own.yaml").write_text("name: own\ncatalogue: {kind: folder, path: here}\n")
    assert "a catalogue of kind 'folder'" in one_line(
        capsys, tmp_path / "own.yaml", "--locale", "zh"
    )
    assert "leave --preset out" in one_line(capsys, tmp_path, "--preset", "mission")
    # The config is right, but the folder is no run.
    assert str(tmp_path) in one_line(capsys, tmp_path)


def test_without_a_config_there_is_the_default_shop() -> None:
    config = shop_config(None, "sceptical", None, ["catalogue.items=70"])
    assert (config.catalogue.kind, config.preset) == ("synthetic", "sceptical")
    assert config.catalogue.items == 70  # type: ignore[union-attr]  # checked above
    plain = shop_config(None, None, None, [])
    assert plain == Config(name=plain.name)
