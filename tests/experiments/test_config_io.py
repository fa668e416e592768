"""A configuration mistake is one clear line that names the file, the key, the rule and the mend."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field, field_validator

from envs.errors import UserError
from envs.settings import Settings
from experiments.config_io import config_as_dict, load_config, validate_config


class Synthetic(Settings):
    kind: Literal["synthetic"] = "synthetic"
    items: int = Field(default=1000, gt=0)


class Folder(Settings):
    kind: Literal["folder"]
    folder: str


class Adapter(Settings):
    rank: int


class Ppo(Settings):
    learning_rate: float = Field(default=2e-4, gt=0)
    algorithm: Literal["ppo", "grpo"] = "ppo"
    batch: int | Literal["auto"] = "auto"
    weights: dict[str, float] = Field(default_factory=dict)
    stops: tuple[int, ...] = ()
    adapter: Adapter | None = None
    clip: float = math.inf

    @field_validator("batch")
    @classmethod
    def _even(cls, batch: int | str) -> int | str:
        if isinstance(batch, int) and batch % 2:
            raise ValueError("must be even")
        return batch


class Config(Settings):
    name: str
    catalogue: Annotated[Synthetic | Folder, Field(discriminator="kind")] = Synthetic()
    ppo: Ppo = Ppo()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "demo.yaml"


def _refused(file: Path, text: str | bytes, *overrides: str) -> str:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        load_config(Config, file, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(file), "FILE")


def test_a_one_line_file_gives_every_default(file: Path) -> None:
    file.write_text("name: demo")
    assert load_config(Config, file) == Config(name="demo")


def test_values_of_the_file_and_overrides_arrive_typed_and_the_override_wins(file: Path) -> None:
    file.write_text("name: demo\nppo: {learning_rate: 1.0, stops: [1, 2]}")
    overrides = [
        "ppo.learning_rate=1e-4",
        "ppo.adapter.rank=8",
        "catalogue={kind: folder, folder: x}",
    ]
    config = load_config(Config, file, overrides)
    assert config.ppo.learning_rate == 1e-4
    assert config.ppo.adapter == Adapter(rank=8)
    assert config.ppo.stops == (1, 2)
    assert config.catalogue == Folder(kind="folder", folder="x")


NESTED = "name: d\nppo: "


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nmae: demo", ["FILE: nmae: unknown key", "'name'", "1 more problem"]),
        (NESTED + "{learning_rte: 1}", ["FILE: ppo.learning_rte: unknown key", "'learning_rate'"]),
        (NESTED + "{adapter: {rank: 1, alpha: 2}}", ["ppo.adapter.alpha", "Known here: rank"]),
        (NESTED + "{learning_rate: -1}", ["ppo.learning_rate: must be greater than 0", "-1"]),
        (NESTED + "{learning_rate: fast}", ["ppo.learning_rate: must be a valid number", "'fast'"]),
        (NESTED + "{algorithm: dpo}", ["ppo.algorithm: must be 'ppo' or 'grpo'", "'dpo'"]),
        (NESTED + "{batch: many}", ["ppo.batch: must be a valid integer", "or must be 'auto'"]),
        (NESTED + "{batch: 3}", ["ppo.batch: must be even", "3"]),
        (NESTED + "{weights: {click: x}}", ["ppo.weights.click: must be a valid number"]),
        (NESTED + "{stops: [1, x]}", ["ppo.stops.1: must be a valid integer", "'x'"]),
        (NESTED + "{adapter: {}}", ["ppo.adapter.rank: missing"]),
        (NESTED + "{learning_rate: 0, stops: [x]}", ["ppo.learning_rate", "1 more problem)"]),
        ("name: d\nppo:", ["FILE: ppo: must be a section", "None"]),
        ("name: d\ncatalogue: {kind: foldr}", ["catalogue: kind must be one of", "mean 'folder'"]),
        ("name: d\ncatalogue: {items: 3}", ["catalogue: kind is missing", "'synthetic', 'folder'"]),
        ("name: d\ncatalogue: {kind: folder}", ["FILE: catalogue.folder: missing"]),
        ("name: d\ncatalogue: {kind: folder, folder: 3}", ["FILE: catalogue.folder: must be", "3"]),
        ("name: d\ncatalogue: {kind: synthetic, itms: 3}", ["FILE: catalogue.itms:", "'items'"]),
        ("name: d\ncatalogue: 3", ["FILE: catalogue: must be a section", "3"]),
        ("name: a\nname: b", ["FILE: line 2, column 1: the key 'name' is given twice"]),
        (NESTED + "{batch: 2, batch: 4}", ["line 2", "'batch' is given twice"]),
        ("name: [a", ["FILE: line 1, column 9"]),
        ("- name", ["FILE: must hold sections", "['name']"]),
        ("", ["FILE: must hold sections", "holds nothing"]),
        (b"name: \xff", ["FILE: not UTF-8 text (byte 6)"]),
        ("name: !!python/object:os.system {}", ["FILE: line 1", "python/object"]),
    ],
)
def test_each_mistake_is_one_line_that_names_key_rule_and_value(
    file: Path, text: str | bytes, parts: list[str]
) -> None:
    message = _refused(file, text)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("ppo.learning_rate=fast", ["--set: ppo.learning_rate: must be a valid number", "'fast'"]),
        ("pop.learning_rate=1", ["--set: pop: unknown key", "'ppo'"]),
        ("ppo.learning_rate", ["--set ppo.learning_rate: must have the form section.key=value"]),
        ("ppo..x=1", ["must have the form"]),
        ("name.first=x", ["--set name.first=x: name is 'd', not a section"]),
        ("ppo.stops=[1,", ["--set ppo.stops=[1,: line 1"]),
    ],
)
def test_a_wrong_override_is_blamed_on_the_override(
    file: Path, override: str, parts: list[str]
) -> None:
    message = _refused(file, "name: d", override)
    for part in parts:
        assert part in message


def test_a_mistake_of_the_file_is_not_blamed_on_an_override_beside_it(file: Path) -> None:
    message = _refused(file, NESTED + "{adapter: {alpha: 1}}", "ppo.batch=4")
    assert message.startswith("FILE: ppo.adapter")


def test_a_missing_file_names_the_nearest_one(file: Path) -> None:
    file.write_text("name: d")
    with pytest.raises(UserError, match=r"dem\.yml: no such file\. Did you mean 'demo\.yaml'\?"):
        load_config(Config, file.with_name("dem.yml"))
    with pytest.raises(UserError, match="There is no folder"):
        load_config(Config, file.parent / "nowhere" / "demo.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load_config(Config, file.parent)


def test_a_saved_configuration_comes_back_the_same_through_json_and_yaml() -> None:
    config = Config(name="d", catalogue=Folder(kind="folder", folder="x"), ppo=Ppo(stops=(1, 2)))
    saved = config_as_dict(config)
    through_json = json.loads(json.dumps(saved, allow_nan=False))
    assert validate_config(Config, through_json, "saved") == config
    assert validate_config(Config, yaml.safe_load(yaml.safe_dump(saved)), "saved") == config
