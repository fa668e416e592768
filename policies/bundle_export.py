"""Writing a bundle: everything that it holds, then the manifest over it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from scipy import sparse

from envs.assemble import Shop
from envs.catalogue import TABLES, Catalogue, empty_table, save_catalogue
from envs.errors import UserError
from envs.files import atomic_folder, atomic_path, sha256, write_json, write_text
from envs.liking import learn_likes
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.pools import item_popularity
from envs.shoppers import Profiles
from envs.store import save_arrays, save_index, save_profiles
from policies.bundle import load_bundle
from policies.bundle_book import book_table, save_book_table
from policies.bundle_card import model_card
from policies.bundle_files import (
    BOOK,
    BOOK_BEFORE,
    CARD,
    CONFIG,
    DIGEST,
    KINDS,
    LIKES,
    MANIFEST,
    ONNX,
    POPULARITY,
    SCHEMA_VERSION,
    BundleSettings,
    FileEntry,
    Forms,
    Manifest,
    Source,
    digest_line,
    has_allowed_kind,
    require_features,
    walk,
)
from policies.bundle_selftest import write_self_test
from policies.constraints import shelf_rules
from policies.ranker.onnx_export import export_onnx
from policies.ranker.scorer import SlateScorer, save_scorer
from policies.reasoner.book import ReasonBook
from rewards.claims import ClaimChecker

#: Tables of the catalogue that a shelf or a product page shows.
SHOWN_TABLES = ("items", "facts", "features")

#: Libraries whose version can change what a bundle answers, or how it was trained.
LIBRARIES = (
    "shelftalk", "torch", "numpy", "scipy", "scikit-learn", "pandas", "safetensors", "onnx",
    "onnxruntime", "transformers", "peft", "trl", "ray",
)  # fmt: skip


def export_bundle(
    out: Path,
    *,
    shop: Shop,
    book: ReasonBook,
    scorer: SlateScorer,
    reasoner: Path | None,
    settings: BundleSettings,
    metrics: Mapping[str, Any],
    name: str,
    before: ReasonBook | None = None,
    forms: Forms | None = None,
    measured: Mapping[str, Any] | None = None,
    source: Source | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a bundle to ``out``, atomically; a bundle that is there already is replaced.

    Args:
        out: folder of the bundle.
        shop: catalogue, observed profiles and similarity; its hidden parts stay out.
        book: reasons to show.
        scorer: the ranker, in the form that it is to be exported in.
        reasoner: folder with ``base`` and perhaps ``adapter``, or None to leave the model out.
        settings: how the bundle answers.
        metrics: figures for the manifest and the model card, by stage.
        name: of the bundle.
        before: the reasons from before PPO, for a shelf that shows the difference.
        forms: in which form ranker and reasoner are.
        measured: what these forms cost beside the full ones.
        source: what all of it was made from.
        config: the run's configuration.

    Returns:
        ``name``, ``files``, ``bytes``, ``reasoner``, ``forms``, ``measured`` and
        ``onnx_max_difference``.

    Raises:
        UserError: if ``out`` is something else than a bundle, the scorer reads other features
            than the shop has, the catalogue cannot keep the settings' constraints, or the reasoner
            holds a file of a kind that no bundle may hold.
    """
    if out.exists() and not (out / DIGEST).is_file() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"export: {out} exists and is no bundle; give a new or empty folder")
    require_features(scorer.item_features, scorer.context_features, "export")
    catalogue, profiles = shop.visitors.catalogue, shop.visitors.profiles
    popularity = item_popularity(profiles, catalogue.n_items)
    # Only to find a mistake before anything is written.
    shelf_rules(settings.constraints, catalogue, popularity, settings.slots)
    forms = forms or Forms()
    if reasoner is None:
        forms = forms.model_copy(update={"reasoner": "none"})
    with atomic_folder(out) as folder:
        if reasoner is not None:
            _copy_reasoner(reasoner, folder / "reasoner")
        _save_shown(catalogue, folder / "catalogue")
        save_profiles(without_times(profiles), folder / "profiles")
        with atomic_path(folder / POPULARITY) as temporary:
            save_file({"popularity": popularity}, temporary)
        save_arrays(learn_likes(catalogue, profiles), folder / LIKES)
        save_index(shop.index, folder / "similarity")
        checker = ClaimChecker(catalogue)
        for file, shown in ((BOOK, book), (BOOK_BEFORE, before)):
            if shown is not None:
                save_book_table(book_table(shown, catalogue, checker), folder / file)
        save_scorer(scorer, folder / "ranker")
        difference = export_onnx(scorer, folder / ONNX)
        if config is not None:
            write_json(folder / CONFIG, config)
        facts: dict[str, Any] = {
            "name": name,
            "versions": versions(),
            "shop": {
                "name": catalogue.name,
                "locale": catalogue.locale,
                "currency": catalogue.currency,
                "items": catalogue.n_items,
                "shoppers": len(profiles.shopper_ids),
                "segments": profiles.n_segments,
            },
            "settings": settings,
            "forms": forms,
            "source": source or Source(),
            "measured": dict(measured or {}),
            "evaluation": list((metrics.get("simulate") or {}).get("paired") or []),
            "ope": dict(metrics.get("ope") or {}),
            "item_features": ITEM_FEATURES,
            "context_features": CONTEXT_FEATURES,
            "onnx_max_difference": difference,
        }
        manifest = finish(folder, facts, catalogue, metrics, Counter(book.table["source"]))
    return {
        "name": name,
        "files": len(manifest.files),
        "bytes": sum(entry.bytes for entry in manifest.files.values()),
        "reasoner": reasoner is not None,
        "forms": forms.model_dump(),
        "measured": manifest.measured,
        "onnx_max_difference": difference,
    }


def without_times(profiles: Profiles) -> Profiles:
    """Return profiles whose history is one weight an item met: no order of time."""
    shape = (len(profiles.shopper_ids), int(profiles.history_items.max(initial=0)) + 1)
    triples = (profiles.history_weights, (profiles.history_rows, profiles.history_items))
    # The same summation as in `shopper_anchors`, so that no score changes by a rounding.
    summed = sparse.csr_matrix(triples, shape=shape).tocoo()
    return replace(
        profiles,
        history_rows=summed.row.astype(np.int64),
        history_items=summed.col.astype(np.int64),
        history_weights=summed.data,
    )


def _save_shown(catalogue: Catalogue, folder: Path) -> None:
    left_out = [table for table in TABLES if table not in SHOWN_TABLES]
    nothing: dict[str, Any] = {table: empty_table(table) for table in left_out}
    shown = replace(catalogue, **nothing)
    save_catalogue(shown, folder)
    for table in left_out:
        (folder / f"{table}.parquet").unlink()


def _copy_reasoner(source: Path, folder: Path) -> None:
    if not (source / "base").is_dir():
        raise UserError(f"export: {source} has no folder 'base'; give a folder sft or ppo wrote")
    for part in ("base", "adapter"):
        for path in sorted((source / part).rglob("*")):
            if path.is_dir():
                continue
            if not has_allowed_kind(path.name):
                raise UserError(
                    f"export: {path}: a bundle holds only {' '.join(KINDS)} files; save the model "
                    "again as safetensors, with a fast tokenizer, and without optimiser state"
                )
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def versions() -> dict[str, str]:
    """Return the version of Python and of each of `LIBRARIES`."""
    return {"python": python_version()} | {one: version(one) for one in LIBRARIES}


def finish(
    folder: Path,
    facts: Mapping[str, Any],
    catalogue: Catalogue,
    metrics: Mapping[str, Any],
    written: Mapping[str, int],
) -> Manifest:
    """Write self-test, model card and manifest into a folder that holds all else.

    Args:
        folder: of the bundle.
        facts: fields of the manifest, but those that `seal` finds.
        catalogue: the items.
        metrics: figures for the card, by stage.
        written: how many of the reasons each source wrote.
    """
    # The self-test asks the bundle as it will be loaded, which takes a manifest.
    manifest = seal(folder, facts)
    write_self_test(load_bundle(folder, verify=False), folder)
    sizes = folder_sizes(folder)
    write_text(folder / CARD, model_card(manifest, catalogue, metrics, sizes, written))
    return seal(folder, facts)


def folder_sizes(folder: Path) -> dict[str, int]:
    """Return the size in bytes of every file but manifest, its digest and the card, by path."""
    return {name: path.stat().st_size for name, path in sorted(walk(folder)) if name != CARD}


def seal(folder: Path, facts: Mapping[str, Any]) -> Manifest:
    """Write the manifest over all files now in ``folder``; ``facts`` are its other fields."""
    files = {
        name: FileEntry(sha256=sha256(path), bytes=path.stat().st_size)
        for name, path in sorted(walk(folder))
    }
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
        **facts,
    )
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    write_text(folder / DIGEST, digest_line(folder))
    return manifest
