"""docs/config.md says what the settings say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from experiments.config import Config, FolderCatalogue, IcecatCatalogue, SyntheticCatalogue
from experiments.config_docs import TARGET, render


def test_the_page_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "run `python -m experiments.config_docs`"


def _keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _keys(info.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info.description or ""


def test_every_setting_is_documented() -> None:
    page = render()
    kinds: list[Any] = [info.annotation for info in Config.model_fields.values()]
    sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    catalogues: list[type[BaseModel]] = [SyntheticCatalogue, FolderCatalogue, IcecatCatalogue]
    assert len(sections) + len(catalogues) == page.count("\n## ")
    for model in [*sections, *catalogues]:
        for key, about in _keys(model, ""):
            assert f"| `{key}` |" in page
            assert about or key == "kind", f"{model.__name__}.{key} has no docstring"


def test_tables_are_whole() -> None:
    """A bar in a description would break its row."""
    for line in render().splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 5


def test_defaults_are_those_of_a_config_that_says_nothing() -> None:
    """A section of a config may have other defaults than its settings by themselves."""
    page, config = render(), Config(name="nothing")
    rank = page[page.index("\n## rank\n") :]
    assert f"| `iterations` | int | `{config.rank.iterations}` |" in rank
    assert f"| `lr` | float | `{config.rank.lr}` |" in rank
    features = list(config.rank.scorer.baseline_features)
    assert f"| `scorer.baseline_features` | tuple[str, ...] | `{features}` |" in rank


def test_a_section_given_in_part_keeps_the_other_defaults() -> None:
    """Who sets one number of the ranker must not change its others."""
    plain = Config(name="nothing").rank.model_dump()
    part = Config.model_validate({"name": "part", "rank": {"scorer": {"hidden": 8}, "gamma": 0.5}})
    wanted = plain | {"gamma": 0.5, "scorer": plain["scorer"] | {"hidden": 8}}
    assert part.rank.model_dump() == wanted
    assert part.rank.lr == 3e-4
