"""Bundles: loaded from a folder, one orders items for a shopper and says why.

    from policies.bundle import load_bundle
    shelf = load_bundle(Path("bundle")).recommend("shopper-1")

Needs neither ray, trl nor gymnasium; torch, transformers and peft only where reasons are written
live (or texts are encoded by a transformer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors.numpy import load_file

from envs.anchor_scores import histories
from envs.catalogue import Catalogue, load_catalogue
from envs.errors import UserError
from envs.files import sha256
from envs.item_index import ItemIndex
from envs.liking import Likes
from envs.observation import item_facts
from envs.shoppers import Profiles, price_z
from envs.store import load_arrays, load_index, load_profiles
from envs.world import relative_margin
from policies.bundle_answer import Bundle
from policies.bundle_book import SCHEMA, load_book_table, table_arrays
from policies.bundle_files import (
    BOOK,
    BOOK_BEFORE,
    LIKES,
    MANIFEST,
    POPULARITY,
    BundleSettings,
    Manifest,
    check_bundle,
    read_manifest,
    require_features,
)
from policies.bundle_live import DEADLINE, LiveReasons
from policies.bundle_ranker import Backend, Logits, load_logits
from policies.bundle_reasons import Reasons
from policies.bundle_rules import Filters
from policies.bundle_session import Session, SessionPage
from policies.bundle_shelf import Labels, Shelf, ShelfItem
from policies.bundle_slate import Explore
from policies.bundle_visit import Visit
from policies.constraints import shelf_rules
from policies.reasoner.book import Writer
from rewards.evidence import SupportedFact
from sft.tasks import segment_likes

__all__ = [
    "Backend", "Bundle", "BundleSettings", "Explore", "Filters", "Manifest", "Session",
    "SessionPage", "Shelf", "ShelfItem", "SupportedFact", "Visit", "check_bundle", "load_bundle",
]  # fmt: skip


F32 = NDArray[np.float32]


def load_bundle(
    path: Path | str,
    verify: bool = True,
    live: bool = False,
    *,
    backend: Backend = "onnx",
    deadline: float = DEADLINE,
) -> Bundle:
    """Read a bundle.

    Args:
        path: folder that `export_bundle` wrote.
        verify: compare every file with the manifest first.
        live: let the language model write the reasons that the book lacks, in the background
            (`policies.bundle_live`); the ranking itself goes by the book.
        backend: what computes the logits; both give the same order, `torch` for comparing them.
        deadline: with ``live``, seconds that a shelf waits for them; until they are there the
            rule-based writer stands in.

    Raises:
        UserError: for anything that `check_bundle` finds, or ``live`` without a language model.
    """
    path = Path(path)
    manifest = check_bundle(path) if verify else read_manifest(path)
    require_features(manifest.item_features, manifest.context_features, f"bundle {path}")
    catalogue, known = load_catalogue(path / "catalogue"), load_profiles(path / "profiles")
    books = {
        name: load_book_table(path / file, catalogue, known.n_segments)
        for name, file in (("tuned", BOOK), ("before", BOOK_BEFORE))
        if name == "tuned" or (path / file).is_file()
    }
    return assemble_bundle(
        manifest,
        catalogue=catalogue,
        known=known,
        index=load_index(path / "similarity"),
        popularity=load_file(path / POPULARITY)["popularity"],
        likes=load_arrays(Likes, path / LIKES),
        books=books,
        logits=load_logits(path, backend),
        write=_live_writer(path) if live else None,
        id=sha256(path / MANIFEST)[:16],
        deadline=deadline,
    )


def assemble_bundle(
    manifest: Manifest,
    *,
    catalogue: Catalogue,
    known: Profiles,
    index: ItemIndex,
    popularity: F32,
    likes: Likes,
    books: Mapping[str, pa.Table],
    logits: Logits,
    write: Writer | None = None,
    id: str = "",
    deadline: float = DEADLINE,
) -> Bundle:
    """Make a bundle from its parts, wherever they come from.

    Args:
        manifest: says how the bundle answers.
        catalogue: the items.
        known: profiles of the known shoppers.
        index: what the six scores are computed from.
        popularity: share of history events of each item, (I,) float32.
        likes: what is expected of the known shoppers.
        books: reasons by name, as `policies.bundle_book` has them: `tuned`, and `before` where
            there are any.
        logits: the ranker.
        write: the language model, where reasons are written live.
        id: which bundle this is.
        deadline: see `load_bundle`.
    """
    _ = index.word_items  # computed once here rather than by two threads at a time
    settings, price, margin = manifest.settings, price_z(catalogue), relative_margin(catalogue)

    def reasons(table: pa.Table) -> Reasons:
        facts = item_facts(
            price, popularity, margin, catalogue.class_index,
            table_arrays(table, catalogue, known.n_segments), known.segment_aspects,
            settings.words_free,
        )  # fmt: skip
        return Reasons(table, facts)

    shown = dict(books) | {"none": SCHEMA.empty_table()}
    profiles, asked = with_average(known, catalogue.n_items), settings.constraints
    rules = None if asked.idle else shelf_rules(asked, catalogue, popularity, settings.slots)
    live = LiveReasons(write, catalogue, profiles, deadline) if write else None
    return Bundle(
        manifest=manifest,
        id=id,
        catalogue=catalogue,
        profiles=profiles,
        rows={shopper: row for row, shopper in enumerate(known.shopper_ids)},
        met=histories(profiles, catalogue.n_items),
        index=index,
        labels=Labels.of(catalogue),
        reasons={name: reasons(table) for name, table in shown.items()},
        logits=logits,
        segment_likes=segment_likes(catalogue, profiles),
        likes=likes.with_average(),
        rules=rules,
        live=live,
    )


def with_average(profiles: Profiles, items: int) -> Profiles:
    """Return the profiles with one more row, the mean of all, in the most frequent segment."""
    shoppers = len(profiles.shopper_ids)
    weights = np.bincount(profiles.history_items, profiles.history_weights, minlength=items)
    met = np.flatnonzero(weights)
    mean = (weights[met] / shoppers).astype(np.float32)
    segment = np.bincount(profiles.segment).argmax()
    return replace(
        profiles,
        shopper_ids=[*profiles.shopper_ids, ""],
        aspects=np.vstack([profiles.aspects, profiles.aspects.mean(axis=0)]),
        class_mix=np.vstack([profiles.class_mix, profiles.class_mix.mean(axis=0)]),
        price_level=np.append(profiles.price_level, profiles.price_level.mean()),
        segment=np.append(profiles.segment, segment),
        history_rows=np.append(profiles.history_rows, np.full(len(met), shoppers)),
        history_items=np.append(profiles.history_items, met),
        history_weights=np.append(profiles.history_weights, mean),
    )


def _live_writer(path: Path) -> Writer:
    if not (path / "reasoner").is_dir():
        raise UserError(f"bundle {path}: it has no language model; leave live off or export one")
    try:
        # The one place that needs torch, transformers and peft.
        from policies.reasoner.generate import generate, load_reasoner
    except ModuleNotFoundError as error:
        raise UserError(
            f"bundle {path}: live reasons need {error.name}, which is not installed; in the "
            "checkout, run pip install -c constraints.txt -e '.[live]'"
        ) from error

    model, tokenizer = load_reasoner(path / "reasoner")
    return lambda prompts: generate(model, tokenizer, prompts, greedy=True)
