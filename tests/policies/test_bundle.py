"""Bundles: exported equals live, nothing hidden inside, and every fault is found."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

import policies
from envs.behaviour import ShopConfig
from envs.counter_rng import new_keys
from envs.errors import UserError
from envs.files import sha256
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.sessions import HOME, SEARCH, candidates, observe, start
from envs.shoppers import Population
from envs.similarity import SCORES
from policies.bundle import (
    Backend,
    Bundle,
    Filters,
    Shelf,
    check_bundle,
    load_bundle,
)
from policies.bundle_card import figure, plain
from policies.bundle_export import export_bundle
from policies.bundle_files import DIGEST, MANIFEST, Forms, Source
from policies.bundle_ranker import load_logits
from policies.bundle_rules import filtered
from policies.constraints import ConstraintsConfig, shelf_rules
from tests.policies.bundle_at_hand import METRICS, SETTINGS, Made

# torch.export calls functions that torch itself has deprecated (seen with torch 2.13).
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
]

ROOT = Path(policies.__file__).parents[1]


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return shutil.copytree(made.path, tmp_path / "bundle")


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# What it answers.


@pytest.mark.parametrize("scene", [HOME, SEARCH])
def test_observation_equals_the_shops_own(made: Made, bundle: Bundle, scene: int) -> None:
    world = made.shop.world(ShopConfig(candidates=20, words_free=SETTINGS.words_free))
    world = world.with_reasons(made.book.arrays)
    state = start(world, new_keys(np.random.default_rng(1), 64))
    live, items = observe(world, state), candidates(world, state)[1]
    met = np.flatnonzero(state.scene == scene)
    assert len(met) > 5
    queries = made.shop.visitors.catalogue.queries["query"]
    # Sums of products, in another order than those of a batch: 64 terms of unit vectors differ by
    # 64 roundings at most.
    rounded = ["text", "behaviour", "graph", "price"]
    close = [ITEM_FEATURES.index(name) for name in rounded]
    exact = [column for column in range(len(ITEM_FEATURES)) if column not in close]
    for session in met:
        row = int(state.shopper[session])
        if scene == HOME:
            visit = bundle.home(row)
        else:
            anchor = int(state.anchor[session]) - world.pools.first_row(SEARCH)
            visit = bundle.search(row, queries[anchor])
        found = bundle.observation_for(visit, items[session])
        np.testing.assert_array_equal(found["context"][0], live["context"][session])
        np.testing.assert_array_equal(found["mask"][0], live["mask"][session])
        features, wanted = found["items"][0], live["items"][session]
        np.testing.assert_array_equal(features[:, exact], wanted[:, exact])
        rounding = 64 * float(np.finfo(np.float32).eps)
        np.testing.assert_allclose(features[:, close], wanted[:, close], rtol=0, atol=rounding)


def test_exported_ranker_equals_the_live_one(made: Made, bundle: Bundle) -> None:
    onnx, bundle = bundle, load_bundle(made.path, verify=False, backend="torch")
    for row in range(20):
        visit = bundle.home(row)
        items = bundle.candidates(visit)
        observation = bundle.observation_for(visit, items)
        with torch.no_grad():
            tensors = [torch.from_numpy(observation[n]) for n in ("context", "items", "mask")]
            live = made.scorer.logits(*tensors).numpy()
        np.testing.assert_array_equal(bundle.logits(observation), live)
        np.testing.assert_allclose(onnx.logits(observation), live, rtol=1e-5, atol=1e-5)
        shopper = bundle.profiles.shopper_ids[row]
        ranked, same = bundle.recommend(shopper, k=30), onnx.recommend(shopper, k=30)
        ids = bundle.catalogue.items["item_id"].to_numpy()[items].tolist()
        best = np.sort(live[0])[::-1][:30]
        for shown in (ranked, same):
            # Items whose logits are equal within rounding may come in either order.
            order = [ids.index(item.item_id) for item in shown.items]
            assert len(set(order)) == len(order) == min(30, len(ids))
            np.testing.assert_allclose(live[0][order], best, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "candidates"), [(1, 5), (2, 20), (9, 64)])
def test_onnx_safetensors_and_the_live_module_agree(
    made: Made, bundle: Bundle, rows: int, candidates: int
) -> None:
    rng = np.random.default_rng(rows)
    observation = {
        "context": rng.standard_normal((rows, len(CONTEXT_FEATURES))),
        "items": 2 * rng.standard_normal((rows, candidates, len(ITEM_FEATURES))),
        "mask": rng.random((rows, candidates)) < 0.8,
    }
    observation["mask"][:, 0] = True
    seen = {name: values.astype(np.float32) for name, values in observation.items()}
    with torch.no_grad():
        tensors = [torch.from_numpy(seen[name]) for name in ("context", "items", "mask")]
        live = made.scorer.logits(*tensors).numpy()
    stored = load_logits(made.path, "torch")(seen)
    np.testing.assert_array_equal(stored, live)
    there = seen["mask"] > 0
    np.testing.assert_allclose(bundle.logits(seen)[there], live[there], rtol=1e-5, atol=1e-5)


def test_shelf_shows_the_book_of_the_shoppers_segment(made: Made, bundle: Bundle) -> None:
    profiles, catalogue = made.shop.visitors.profiles, made.shop.visitors.catalogue
    rows = made.book.lookup()
    for shopper in profiles.shopper_ids[:10]:
        shelf = bundle.recommend(shopper)
        segment = int(profiles.segment[profiles.shopper_ids.index(shopper)])
        assert (shelf.shopper, shelf.scene, shelf.segment) == (shopper, "home", segment)
        assert (shelf.notes, len(shelf.items)) == ([], SETTINGS.slots)
        assert shelf.likes[0] == catalogue.aspects[profiles.liked(segment, 1)[0]]
        assert len({item.item_id for item in shelf.items}) == SETTINGS.slots
        assert all(a.score >= b.score for a, b in zip(shelf.items, shelf.items[1:]))
        for item in shelf.items:
            known = catalogue.items.iloc[catalogue.item_position[item.item_id]]
            assert (item.title, item.brand, item.price) == tuple(known[["title", "brand", "price"]])
            if item.item_id != catalogue.items["item_id"][0]:
                wanted = rows[item.item_id, segment]
                assert (item.reason, item.claims) == (wanted["text"], list(wanted["claims"]))
                assert item.reason_source == "fallback"
            assert tuple(item.similarity) == SCORES
            assert all(0 <= value <= 1 for value in item.similarity.values())


def test_item_without_a_reason_is_shown_without_one(made: Made, bundle: Bundle) -> None:
    first = str(bundle.catalogue.items["item_id"][0])
    (item,) = bundle.recommend(None, candidates=[first], k=1).items
    assert (item.reason, item.reason_source, item.claims) == ("", "none", [])


def test_candidates_are_the_best_by_equal_weight_mean(bundle: Bundle) -> None:
    visit = bundle.home(0)
    chosen = bundle.candidates(visit)
    mean = visit.scores.mean(axis=1)
    left = np.setdiff1d(np.arange(len(mean)), chosen)
    assert len(chosen) == SETTINGS.pool
    assert mean[chosen].min() >= mean[left].max()


def test_average_shopper_stands_in_for_an_unknown_one(made: Made, bundle: Bundle) -> None:
    profiles = made.shop.visitors.profiles
    none, unknown = bundle.recommend(None), bundle.recommend("nobody")
    assert [i.item_id for i in none.items] == [i.item_id for i in unknown.items]
    assert (none.shopper, unknown.shopper) == (None, None)
    assert none.notes == ["No shopper was given: this is the shelf of the average shopper."]
    assert "'nobody' is not known" in unknown.notes[0]
    assert none.segment == np.bincount(profiles.segment).argmax()
    visit = bundle.home(len(profiles.shopper_ids))
    everyone = [bundle.home(row).scores for row in range(len(profiles.shopper_ids))]
    # Behaviour and graph are linear in the history; a cut at 1 can only lower the mean of cuts.
    graph = SCORES.index("graph")
    np.testing.assert_allclose(
        visit.scores[:, graph], np.mean(everyone, axis=0)[:, graph], rtol=1e-5, atol=1e-6
    )
    observation = bundle.observation_for(visit, np.array([0]))
    level = observation["context"][0, CONTEXT_FEATURES.index("price_level")]
    assert level == pytest.approx(profiles.price_level.mean() / 3, rel=1e-5)


def test_query_opens_the_search_scene_and_only_matches_are_shown(bundle: Bundle) -> None:
    word = str(bundle.catalogue.items["class"][0])
    shelf = bundle.recommend(bundle.profiles.shopper_ids[0], query=word)
    assert (shelf.scene, shelf.notes) == ("search", [])
    assert all(max(i.similarity["scene"], i.similarity["text"]) > 0 for i in shelf.items)
    assert any(i.similarity["scene"] > 0 for i in shelf.items)


@pytest.mark.parametrize("query", ["qqqq zzzz", "", "  ", "!?"])
def test_query_that_nothing_matches_gets_the_home_shelf(bundle: Bundle, query: str) -> None:
    shopper = bundle.profiles.shopper_ids[0]
    shelf, home = bundle.recommend(shopper, query=query), bundle.recommend(shopper)
    assert shelf.scene == "home"
    assert shelf.notes == [f"Nothing matches {query!r}: this is the home shelf."]
    assert shelf.items == home.items


def test_given_candidates_are_ordered_and_nothing_else(bundle: Bundle) -> None:
    ids = bundle.catalogue.items["item_id"].tolist()[10:13]
    shelf = bundle.recommend(bundle.profiles.shopper_ids[1], candidates=[*ids, ids[0]], k=9)
    assert sorted(i.item_id for i in shelf.items) == sorted(ids)
    assert shelf.notes == [
        "Items named more than once are shown once.",
        "There are only 3 candidates for the 9 items asked for.",
    ]
    # The ranker is permutation-equivariant, so the order they are named in does not matter.
    turned = bundle.recommend(bundle.profiles.shopper_ids[1], candidates=ids[::-1], k=9)
    assert [i.item_id for i in turned.items] == [i.item_id for i in shelf.items]


def test_wrong_questions_are_one_clear_line(bundle: Bundle) -> None:
    known = str(bundle.catalogue.items["item_id"][3])
    with pytest.raises(UserError, match=rf"item '{known}x' is not.*Did you mean '{known}'\?"):
        bundle.recommend(None, candidates=[f"{known}x"])
    with pytest.raises(UserError, match="list of candidates is empty"):
        bundle.recommend(None, candidates=[])
    with pytest.raises(UserError, match="k must be at least 1, but is 0"):
        bundle.recommend(None, k=0)


# Rules of the shelf.


def ruled(bundle: Bundle, **asked: Any) -> Bundle:
    """The same bundle with other settings, as if it had been exported with them."""
    settings = SETTINGS.model_copy(update={"constraints": ConstraintsConfig(**asked)})
    popularity = bundle.reasons["tuned"].facts.seen[:, 1]
    return replace(
        bundle,
        manifest=bundle.manifest.model_copy(update={"settings": settings}),
        rules=shelf_rules(settings.constraints, bundle.catalogue, popularity, settings.slots),
    )


def ids(shelf: Shelf) -> list[str]:
    return [item.item_id for item in shelf.items]


def test_filters_of_a_request_come_before_anything(bundle: Bundle) -> None:
    shopper = bundle.profiles.shopper_ids[0]
    plain = bundle.recommend(shopper)
    assert bundle.recommend(shopper, filters=Filters()) == plain
    gone = ids(plain)[:2]
    shelf = bundle.recommend(shopper, filters=Filters(out_of_stock=[*gone, "sold elsewhere"]))
    assert (len(shelf.items), shelf.notes) == (SETTINGS.slots, [])
    assert not set(ids(shelf)) & set(gone)
    price = float(bundle.catalogue.items["price"].median())
    cheap = bundle.recommend(shopper, filters=Filters(max_price=price))
    assert len(cheap.items) == SETTINGS.slots
    assert all(item.price <= price for item in cheap.items)
    # The pool is refilled, so what is ordered is what would have been without the dear ones.
    visit = bundle.home(0)
    rules = filtered(None, Filters(max_price=price), bundle.catalogue)
    assert len(bundle.candidates(visit, rules)) == SETTINGS.pool
    with pytest.raises(UserError, match=r"min_price \(9\) must not exceed max_price \(8\)"):
        Filters(min_price=9, max_price=8)


def test_what_filters_leave_nothing_of_is_said(bundle: Bundle) -> None:
    given = bundle.catalogue.items["item_id"].tolist()[:3]
    shelf = bundle.recommend(
        bundle.profiles.shopper_ids[0], candidates=given, filters=Filters(out_of_stock=given[:2])
    )
    assert ids(shelf) == given[2:]
    assert shelf.notes == [
        "2 of the candidates are out of stock or outside the price band.",
        "There are only 1 candidates for the 4 items asked for.",
    ]
    nothing = bundle.recommend(None, filters=Filters(min_price=1e9))
    assert (nothing.items, nothing.notes[-1]) == (
        [], "There are only 0 candidates for the 4 items asked for.",
    )  # fmt: skip


def test_shelves_keep_the_bundles_rules_and_say_what_they_changed(bundle: Bundle) -> None:
    items = bundle.catalogue.items
    kind = dict(zip(items["item_id"], items["class"]))
    last = str(items["item_id"].iloc[-1])
    strict = ruled(bundle, max_per_group=1, min_new=1, pinned={last: 2})
    assert strict.rules is not None
    new = set(items["item_id"][strict.rules.new])
    changed = 0
    for shopper in bundle.profiles.shopper_ids[:12]:
        shelf, free = strict.recommend(shopper), bundle.recommend(shopper)
        shown = ids(shelf)
        assert shown[1] == last
        assert len({kind[item] for item in shown}) == SETTINGS.slots
        assert new & set(shown)
        assert len(set(shown)) == SETTINGS.slots
        other = len(set(shown) - set(ids(free)))
        if other:
            changed += 1
            assert shelf.notes == [f"The shelf's rules put {other} of 4 items there."]
    assert changed > 6


def test_rules_that_the_candidates_cannot_keep_are_said(bundle: Bundle) -> None:
    items = bundle.catalogue.items
    kind = items["class"].iloc[0]
    alike = items["item_id"][items["class"] == kind].tolist()[:3]
    pinned = str(items["item_id"][items["class"] != kind].iloc[0])
    strict = ruled(bundle, max_per_group=1, min_groups=2, min_new=2, pinned={pinned: 1})
    assert strict.rules is not None
    known = strict.rules.new[[bundle.catalogue.item_position[i] for i in alike]].sum()
    shelf = strict.recommend(bundle.profiles.shopper_ids[0], candidates=alike, k=3)
    assert sorted(ids(shelf)) == sorted(alike)
    assert f"Item {pinned!r} is pinned to slot 1, but is not among the candidates." in shelf.notes
    assert any(note.startswith("Fewer than 2 different values of class") for note in shelf.notes)
    assert any(note.startswith("More than 1 items of one class") for note in shelf.notes)
    assert any("Fewer than 2 new items" in note for note in shelf.notes) == (known < 2)


def test_rules_come_with_the_bundle(made: Made, tmp_path: Path) -> None:
    def export(asked: ConstraintsConfig) -> None:
        export_bundle(
            tmp_path / "bundle", shop=made.shop, book=made.book, scorer=made.scorer, reasoner=None,
            settings=SETTINGS.model_copy(update={"constraints": asked}), metrics={}, name="ruled",
        )  # fmt: skip

    with pytest.raises(UserError, match="pinned: the catalogue has no item 'nothing'"):
        export(ConstraintsConfig(pinned={"nothing": 1}))
    assert not (tmp_path / "bundle").exists()
    item = str(made.shop.visitors.catalogue.items["item_id"][5])
    asked = ConstraintsConfig(max_per_group=1, pinned={item: 2})
    export(asked)
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.manifest.settings.constraints == asked
    assert ids(loaded.recommend(None))[1] == item


# What it holds.


def test_manifest_and_what_export_returns(made: Made) -> None:
    manifest = check_bundle(made.path)
    assert (manifest.name, manifest.settings) == ("small | shop", SETTINGS)
    assert (manifest.shop["items"], manifest.shop["shoppers"]) == (80, 60)
    assert made.returned["files"] == len(manifest.files) == len(files_of(made.path)) - 2
    assert made.returned["onnx_max_difference"] == manifest.onnx_max_difference <= 1e-5
    assert manifest.forms == Forms(ranker="full", reasoner="adapter")
    assert manifest.evaluation == METRICS["simulate"]["paired"]
    assert manifest.ope["truth"] == 2.5
    assert {"python", "shelftalk", "torch", "onnxruntime"} <= manifest.versions.keys()
    assert made.returned["bytes"] == sum(e.bytes for e in manifest.files.values())
    line = (made.path / DIGEST).read_text()
    assert line == f"{sha256(made.path / MANIFEST)}  {MANIFEST}\n"


def test_nothing_hidden_and_no_histories_or_reviews_inside(made: Made) -> None:
    hidden = {f.name for f in fields(Population)} | {"relevance"}
    tensors: set[str] = set()
    for path in made.path.rglob("*.safetensors"):
        with safe_open(path, framework="numpy") as opened:
            tensors |= set(opened.keys())
    assert {"price_level", "popularity", "skip"} <= tensors
    assert not hidden & tensors
    tables = {path.name for path in made.path.rglob("*.parquet")}
    book = {"reasons.parquet", "reasons_before.parquet"}
    assert tables == {"items.parquet", "facts.parquet", "features.parquet", *book}
    for path in made.path.rglob("*.parquet"):
        assert not {"shopper_id", "timestamp", "event"} & set(pd.read_parquet(path).columns)
    # One weight for each item a shopper met, sorted by item: the order of time is gone.
    known = load_bundle(made.path, verify=False).profiles
    pairs = list(zip(known.history_rows, known.history_items))
    assert pairs == sorted(set(pairs))


def test_no_path_of_this_machine_inside(made: Made) -> None:
    for path in files_of(made.path):
        data = path.read_bytes()
        for place in (str(ROOT), sys.prefix, str(made.path.parent)):
            assert place.encode() not in data, path


def test_card_tells_figures_limits_and_notes(made: Made) -> None:
    card = (made.path / "MODEL_CARD.md").read_text()
    assert card.startswith("# small \\| shop\n")
    for line in (
        "| Gain, paired by prompt | 0.25 [0.125, 0.375] |",
        "| ranker | 3.5 [3.25, 3.75] | 0.125 | - | - |",
        "| ranker minus similarity | return | 1 [0, 2] |",
        "| DR | 2.25 [2, 3] | 812 |",
        "| truth (simulated) | 2.5 | - |",
    ):
        assert line in card.splitlines()
    assert "evaluated in a simulated shop" in card
    assert "The ranker was not shown to earn more than similarity" in card
    assert "| Signature | |" in card
    assert f"written {len(made.book.table)} by the fallback" in card
    assert "none comes from a trained model" in card
    assert all(plain(note) in card for note in made.shop.visitors.catalogue.notes)
    listed = set(re.findall(r"^\| `([^`]+)` \|", card, re.MULTILINE))
    present = {path.relative_to(made.path).as_posix() for path in files_of(made.path)}
    assert listed == present - {"MODEL_CARD.md", MANIFEST, DIGEST}


def test_card_tells_form_source_and_how_to_make_it_again(made: Made, tmp_path: Path) -> None:
    lost = {"return_difference": {"mean": -0.5, "low": -1.0, "high": 0.25}, "weights": 12345}
    export_bundle(
        tmp_path / "out", shop=made.shop, book=made.book, scorer=made.scorer, reasoner=None,
        settings=SETTINGS, metrics={}, name="x", forms=Forms(ranker="linear"),
        measured={"ranker": lost}, config={"seed": 5, "name": "x"},
        source=Source(
            config_sha256="ab" * 32, seed=5, commands=("shelftalk run config.json --out RUN",)
        ),
    )  # fmt: skip
    manifest = check_bundle(tmp_path / "out")
    assert manifest.forms == Forms(ranker="linear", reasoner="none")
    assert (manifest.measured, manifest.source.seed) == ({"ranker": lost}, 5)
    card = (tmp_path / "out/MODEL_CARD.md").read_text()
    for line in (
        "| return difference | -0.5 [-1, 0.25] |",
        "| weights | 12,345 |",
        "| seed | 5 |",
        f"| SHA-256 of the configuration | {'ab' * 32} |",
        f"| version of torch | {manifest.versions['torch']} |",
        "shelftalk run config.json --out RUN",
    ):
        assert line in card.splitlines()
    assert "The results above are those of the full forms" in card
    assert json.loads((tmp_path / "out/config.json").read_text()) == {"name": "x", "seed": 5}


def test_card_shows_foreign_text_as_text() -> None:
    assert plain("<b>|a`\n# b") == "&lt;b&gt;\\|a\\` \\# b"
    assert figure({"mean": 1.0, "low": None, "high": None}) == "1"
    assert figure("none") == figure(None) == figure(True) == "-"


def test_exports_of_the_same_differ_in_nothing_but_the_manifest(
    made: Made, reasoner: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(made.path, tmp_path / "again")
    (old / "stray.json").write_text("{}")
    export_bundle(
        old, shop=made.shop, book=made.book, scorer=made.scorer, reasoner=reasoner,
        settings=SETTINGS, metrics=METRICS, name="small | shop", before=made.before,
    )  # fmt: skip
    assert check_bundle(old).files == check_bundle(made.path).files


# What it refuses.


def change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_each_single_changed_byte_is_found_and_its_file_named(made: Made, copy: Path) -> None:
    for path in files_of(copy):
        name = path.relative_to(copy).as_posix()
        change_byte(path)
        # A digest that does not fit accuses the manifest: one of the two was changed.
        named = MANIFEST if name == DIGEST else name
        with pytest.raises(UserError, match=re.escape(repr(named))):
            check_bundle(copy)
        shutil.copyfile(made.path / name, path)
    check_bundle(copy)


def rewrite(copy: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest and its digest together, as a newer version would write them."""
    manifest = json.loads((copy / MANIFEST).read_text())
    change(manifest)
    (copy / MANIFEST).write_text(json.dumps(manifest))
    (copy / DIGEST).write_text(f"{sha256(copy / MANIFEST)}  {MANIFEST}\n")


def list_a_pickle(copy: Path) -> None:
    (copy / "ranker/weights.pkl").write_bytes(b"x")
    entry = {"sha256": sha256(copy / "ranker/weights.pkl"), "bytes": 1}
    rewrite(copy, lambda manifest: manifest["files"].update({"ranker/weights.pkl": entry}))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda c: (c / "reasons.parquet").unlink(), "'reasons.parquet': it is missing"),
    "extra": (lambda c: (c / "more.json").write_text("{}"), "'more.json': manifest.json does not"),
    "longer": (lambda c: append(c / "MODEL_CARD.md"), "bytes, not the"),
    "pickle": (lambda c: (c / "a.pkl").write_bytes(b""), "'a.pkl': a bundle holds only"),
    "bin": (lambda c: (c / "pytorch_model.bin").write_bytes(b""), "holds only .safetensors"),
    "listed": (list_a_pickle, "'ranker/weights.pkl': a bundle holds only"),
    "link out": (lambda c: link(c / "ranker/scorer.json"), "'ranker/scorer.json': .* no links"),
    "folder link": (lambda c: (c / "x").symlink_to(c.parent), "'x': a bundle holds plain files"),
    "newer": (
        lambda c: rewrite(c, lambda m: m.update(schema_version=3, brand_new={})),
        "schema_version 3 is newer than 2.*update shelftalk",
    ),
    "older": (
        lambda c: rewrite(c, lambda m: m.update(schema_version=1)),
        "schema_version 1 is older than 2.*export the run again",
    ),
    "no digest": (lambda c: (c / DIGEST).unlink(), "'manifest.sha256.txt': it is missing"),
    "cut": (lambda c: (c / MANIFEST).write_text('{"schema'), "'manifest.json': it cannot be read"),
    "no schema": (lambda c: (c / MANIFEST).write_text("{}"), "'manifest.json': it cannot be read"),
    "list": (lambda c: rewrite_as_list(c), "'manifest.json'"),
    "no slots": (
        lambda c: rewrite(c, lambda m: m["settings"].update(slots=0)),
        "settings.slots: Input should be greater",
    ),
    "no manifest": (lambda c: (c / MANIFEST).unlink(), "has no manifest.json; give the folder"),
}


def append(path: Path) -> None:
    path.write_text(path.read_text() + "more")


def link(path: Path) -> None:
    outside = path.parents[2] / "outside.json"
    shutil.move(path, outside)
    path.symlink_to(outside)


def rewrite_as_list(copy: Path) -> None:
    (copy / MANIFEST).write_text("[]")
    (copy / DIGEST).write_text(f"{sha256(copy / MANIFEST)}  {MANIFEST}\n")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_clear_line(copy: Path, fault: str) -> None:
    damage, message = FAULTS[fault]
    damage(copy)
    with pytest.raises(UserError, match=message) as raised:
        load_bundle(copy)
    assert str(raised.value).startswith(f"bundle {copy}: ")
    assert "\n" not in str(raised.value)


def test_ranker_of_another_version_is_refused(copy: Path) -> None:
    rewrite(copy, lambda manifest: manifest["item_features"].append("colour"))
    with pytest.raises(UserError, match=r"other item features .*\(colour\); train"):
        load_bundle(copy)


def test_export_overwrites_no_foreign_folder(made: Made, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="exists and is no bundle"):
        export_again(made, tmp_path, None)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_export_refuses_a_pickled_reasoner_and_leaves_nothing(made: Made, tmp_path: Path) -> None:
    (tmp_path / "reasoner/base").mkdir(parents=True)
    with pytest.raises(UserError, match="has no folder 'base'"):
        export_again(made, tmp_path / "out", tmp_path / "reasoner/base")
    (tmp_path / "reasoner/base/training_args.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"training_args\.bin: a bundle holds only"):
        export_again(made, tmp_path / "out", tmp_path / "reasoner")
    assert [path.name for path in tmp_path.iterdir()] == ["reasoner"]


def test_bundle_without_a_language_model_cannot_write_live(made: Made, tmp_path: Path) -> None:
    export_again(made, tmp_path / "out", None)
    assert not (tmp_path / "out/reasoner").exists()
    card = (tmp_path / "out/MODEL_CARD.md").read_text()
    assert "No language model is part of this bundle" in card
    assert "No figures came with this export" in card
    with pytest.raises(UserError, match="it has no language model"):
        load_bundle(tmp_path / "out", live=True)


def test_live_reasons_without_their_extra_are_one_line(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "policies.reasoner.generate", None)
    with pytest.raises(UserError, match=r"live reasons need .*pip install .* -e '\.\[live\]'"):
        load_bundle(made.path, verify=False, live=True)


def export_again(made: Made, out: Path, reasoner: Path | None) -> None:
    export_bundle(
        out, shop=made.shop, book=made.book, scorer=made.scorer, reasoner=reasoner,
        settings=SETTINGS, metrics={}, name="again",
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_contributions_sum_to_the_score_less_an_average_candidates(
    made: Made, backend: Backend
) -> None:
    bundle = load_bundle(made.path, verify=False, backend=backend)
    shelf = bundle.recommend(None, k=4, explained=True)
    plain = bundle.recommend(None, k=4)
    assert [item.score for item in shelf.items] == [item.score for item in plain.items]
    assert all(item.contributions == {} for item in plain.items)
    items = bundle.candidates(bundle.home(len(bundle.rows)))
    seen = bundle.observation_for(bundle.home(len(bundle.rows)), items)
    for item in shelf.items:
        place = items.tolist().index(bundle.catalogue.item_position[item.item_id])
        average = {name: array.copy() for name, array in seen.items()}
        average["items"][0, place] = seen["items"][0].mean(axis=0)
        base = bundle.logits(average)[0, place]
        assert sum(item.contributions.values()) == pytest.approx(item.score - base, abs=1e-4)
