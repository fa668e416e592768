"""The sweep file of `shelftalk tune`: which settings of the ranker are tried, drawn how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, model_validator

from envs.errors import UserError, nearest
from envs.settings import Settings
from experiments.config import Config
from experiments.config_io import load_config, validate_config

#: The sweep that is there without any.
DEFAULT_SWEEP = Path(__file__).parent / "configs" / "sweep.yaml"
#: Settings that a trial may not have of its own: where it runs, and how all are judged.
FIXED = ("algorithm", "num_env_runners", "num_learners", "address", "eval_sessions")
_PREFIX = "rank."


class Draw(Settings):
    """How one setting is drawn: exactly one of these."""

    choice: tuple[Any, ...] | None = Field(None, min_length=1)
    """One of these values, each as likely."""
    uniform: tuple[float, float] | None = None
    """A number between these two."""
    loguniform: tuple[float, float] | None = None
    """A number between these two, its logarithm uniform: for scales, such as a step size."""
    integers: tuple[int, int] | None = Field(None, alias="int")
    """A whole number from the first to the second, both included."""

    @model_validator(mode="after")
    def _is_one_range(self) -> Draw:
        given = [(name, pair) for name, pair in self if pair is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of choice, uniform, loguniform, int")
        name, pair = given[0]
        if name != "choice" and not pair[0] < pair[1]:
            raise ValueError(f"the first must be below the second, not {list(pair)}")
        if name == "loguniform" and pair[0] <= 0:
            raise ValueError(f"a logarithm needs numbers above 0, not {list(pair)}")
        return self

    def ends(self) -> tuple[Any, ...]:
        """Return the values that must be legal for all to be: every choice, or both ends."""
        return next(values for _, values in self if values is not None)

    def value(self, rng: np.random.Generator) -> Any:
        """Draw a value; numbers have four digits, so that a table can show what was tried."""
        if self.choice is not None:
            return self.choice[int(rng.integers(len(self.choice)))]
        if self.integers is not None:
            return int(rng.integers(self.integers[0], self.integers[1], endpoint=True))
        if self.uniform is not None:
            return float(f"{rng.uniform(*self.uniform):.4g}")
        assert self.loguniform is not None
        return float(f"{np.exp(rng.uniform(*np.log(self.loguniform))):.4g}")


class Sweep(Settings):
    """What a search over the ranker's settings tries."""

    trials: int = Field(12, ge=1)
    """Drawn settings that are tried, beside those of the config itself."""
    space: dict[str, Draw] = Field(min_length=1)
    """How each setting is drawn, by its dotted name (rank.lr, rank.scorer.hidden)."""


def read_sweep(path: Path, config: Config) -> Sweep:
    """Read a sweep file and check each name and range against the settings of a ranker.

    Raises:
        UserError: no such file, an unknown key or range, or a value that the setting cannot have.
    """
    sweep = load_config(Sweep, path)
    for name, draw in sweep.space.items():
        _check_name(path, name)
        for value in draw.ends():
            _check_value(path, config, name, value)
    return sweep


def _check_name(path: Path, name: str) -> None:
    known = _names(Config.model_fields["rank"].annotation)
    if name not in known:
        hint = nearest(name, known) or f" A sweep is over {', '.join(known)}."
        raise UserError(f"{path}: space: {name!r} is no setting that a sweep can change.{hint}")


def _names(model: Any, prefix: str = _PREFIX) -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += _names(inner, f"{prefix}{name}.")
        elif name not in FIXED:
            names.append(prefix + name)
    return names


def _check_value(path: Path, config: Config, name: str, value: Any) -> None:
    try:
        changed(config, {name: value})
    except UserError as error:
        # Settings may exclude each other; that is seen where they meet, in `changed`.
        said = str(error).removeprefix(f"{config.name}: ")
        raise UserError(f"{path}: space: {name} as {value}: {said}") from None


def changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return the config with some settings of the ranker changed, by dotted name.

    Raises:
        UserError: a value that the setting cannot have, or cannot have beside the others.
    """
    data = config.model_dump(mode="json")
    for name, value in settings.items():
        level, *rest = name.split(".")
        inner = data
        for part in rest:
            inner, level = inner[level], part
        inner[level] = value
    return validate_config(Config, data, config.name)


def draw_settings(sweep: Sweep, config: Config, trials: int, seed: int) -> list[dict[str, Any]]:
    """Return the settings of each trial by dotted name; the first is the config as it is.

    Trial n depends on the sweep, the seed and n alone, so that a search is made longer without
    another one. What is drawn together but excludes each other is drawn again.

    Raises:
        UserError: hardly any settings go together.
    """
    return [{}, *(_draw(sweep, config, seed, number) for number in range(1, trials + 1))]


_TRIES = 100


def _draw(sweep: Sweep, config: Config, seed: int, number: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, number])
    said = ""
    for _ in range(_TRIES):
        drawn = {name: draw.value(rng) for name, draw in sweep.space.items()}
        try:
            changed(config, drawn)
        except UserError as error:
            said = str(error)
        else:
            return drawn
    raise UserError(f"sweep: {_TRIES} draws in a row were no settings of a ranker ({said})")
