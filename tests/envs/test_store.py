"""A shop on disk is the same shop."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import sparse

from envs.assemble import Shop
from envs.behaviour import ShopConfig
from envs.errors import UserError
from envs.pools import Pools
from envs.shop import ShopVectorEnv
from envs.similarity import query_anchors, score
from envs.store import load_arrays, load_shop, save_similarity, save_visitors
from tests.shop_at_hand import small_shop


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("shop")
    save_visitors(small_shop().visitors, root / "visitors")
    save_similarity(small_shop(), root / "similarity")
    return root / "visitors", root / "similarity"


@pytest.fixture(scope="module")
def again(folders: tuple[Path, Path]) -> Shop:
    return load_shop(*folders)


def _same(a: Any, b: Any) -> None:
    """Equal field by field, dtypes included."""
    for f in fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype, f.name
            np.testing.assert_array_equal(x, y, err_msg=f.name)
        elif sparse.issparse(x):
            assert x.shape == y.shape
            assert (x != y).nnz == 0
        elif f.name not in ("encoder",):
            assert x == y, f.name


def test_every_array_comes_back(again: Shop) -> None:
    shop = small_shop()
    _same(shop.visitors.population, again.visitors.population)
    _same(shop.visitors.profiles, again.visitors.profiles)
    _same(shop.pools, again.pools)
    _same(shop.index, again.index)
    assert again.visitors.catalogue.summary() == shop.visitors.catalogue.summary()
    assert again.visitors.catalogue.notes == shop.visitors.catalogue.notes


def test_same_observations_and_the_same_sessions(again: Shop) -> None:
    config = ShopConfig(click_model="cascade")
    envs = [ShopVectorEnv(shop.world(config), 30) for shop in (small_shop(), again)]
    seen = [env.reset(seed=1)[0] for env in envs]
    rng = np.random.default_rng(0)
    for _ in range(15):
        for name in seen[0]:
            np.testing.assert_array_equal(seen[0][name], seen[1][name])
        action = rng.random((30, 20)).argsort(-1)[:, :5]
        steps = [env.step(action) for env in envs]
        seen = [step[0] for step in steps]
        for ours, theirs in zip(steps[0][1:4], steps[1][1:4], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_query_scores_the_same(again: Shop) -> None:
    shop = small_shop()
    for text in ("light lamp", "quiet headphones with battery", "unheard-of words"):
        marks = []
        for one in (shop, again):
            anchors = query_anchors(one.index, [text])
            marks.append(score(one.index, anchors))
        np.testing.assert_array_equal(marks[0], marks[1])


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 64])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "pools.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"pools\.safetensors: cannot be read as safetensors"):
        load_arrays(Pools, path)


@pytest.mark.parametrize("name", ["index.safetensors", "index.json"])
def test_a_damaged_index_is_one_line(name: str, folders: tuple[Path, Path], tmp_path: Path) -> None:
    for file in folders[1].iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[:50] if file.name == name else content)
    with pytest.raises(UserError, match=rf"{name}: cannot be read"):
        load_shop(folders[0], tmp_path)


def test_an_index_of_an_earlier_version_is_one_line(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    for file in folders[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "index.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "postings" not in k}, path)
    with pytest.raises(UserError, match="written by an earlier version"):
        load_shop(folders[0], tmp_path)


def test_arrays_of_another_kind_are_one_line(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=r"must hold the arrays of Pools, but '\w+' is missing"):
        load_arrays(Pools, folders[0] / "population.safetensors")
