"""The files of a bundle: how they are written, their manifest, and the check of both.

    MODEL_CARD.md                  for people
    manifest.json                  versions, settings, size and SHA-256 of every file
    catalogue/                     items, facts and features; no history, no reviews, no queries
    profiles/                      what the history says of each shopper; popularity of the items
    similarity/                    the item index that the six scores are computed from
    ranker/                        the scorer as safetensors and JSON, and as ONNX
    reasons.parquet                the reason of each item and segment
    reasoner/base, .../adapter     the language model, where it comes along

Nothing hidden goes in: neither the simulated population nor the true relevance in the pools.

``manifest.json`` names every file with its size and SHA-256, and ``manifest.sha256.txt`` does the
same for the manifest, in the form that ``sha256sum --check`` reads. This finds damage, not forgery:
whoever may write the folder may also write new digests.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError
from safetensors.numpy import save_file
from scipy import sparse

from envs.assemble import Shop
from envs.catalogue import TABLES, Catalogue, empty_table, save_catalogue
from envs.errors import UserError
from envs.files import atomic_folder, atomic_path, read_json, sha256, write_json, write_text
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.pools import item_popularity
from envs.settings import Settings
from envs.shoppers import Profiles
from envs.store import save_index, save_profiles
from policies.bundle_card import model_card
from policies.constraints import ConstraintsConfig, shelf_rules
from policies.ranker.onnx_export import export_onnx
from policies.ranker.scorer import SlateScorer, save_scorer
from policies.reasoner.book import ReasonBook, save_book

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
DIGEST = "manifest.sha256.txt"
CARD = "MODEL_CARD.md"
ONNX = "ranker/ranker.onnx"
BOOK = "reasons.parquet"
POPULARITY = "profiles/popularity.safetensors"
#: Tables of the catalogue that a shelf or a product page shows.
SHOWN_TABLES = ("items", "facts", "features")

#: The kinds of files a bundle may hold: data and text, nothing that runs when it is read. A
#: `.jinja` is the chat template of a model that has one; shelftalk never renders it.
KINDS = (".safetensors", ".onnx", ".json", ".parquet", ".md", ".txt", ".jinja")

#: Libraries whose version can change what a bundle answers, or how it was trained.
LIBRARIES = (
    "shelftalk", "torch", "numpy", "scipy", "scikit-learn", "pandas", "safetensors", "onnx",
    "onnxruntime", "transformers", "peft", "trl", "ray",
)  # fmt: skip


class BundleSettings(Settings):
    """How a bundle answers."""

    slots: int = Field(5, ge=1)
    """Items on a shelf, where nobody asks for another number."""
    pool: int = Field(60, ge=1)
    """Candidates that the ranker chooses from: the best by equal-weight similarity."""
    words_free: int = Field(18, ge=1)
    """Unit of the feature `reason_words`: `words_free` of the shop that the ranker learned in."""
    constraints: ConstraintsConfig = ConstraintsConfig()
    """What every shelf keeps."""


class FileEntry(Settings):
    """Size and digest of one file."""

    sha256: str
    bytes: int


class Manifest(Settings):
    """What a bundle is and what it holds."""

    schema_version: int
    name: str
    created: str
    """UTC, ISO 8601."""
    versions: dict[str, str]
    """Version of each of `LIBRARIES` at export."""
    shop: dict[str, str | int]
    """Name, locale and currency of the catalogue, and how many items, shoppers and segments."""
    settings: BundleSettings
    item_features: tuple[str, ...]
    context_features: tuple[str, ...]
    onnx_max_difference: float
    """Largest difference of the ONNX ranker from the torch one, relative above one."""
    files: dict[str, FileEntry]
    """By path inside the bundle, with forward slashes; the manifest and its digest are not in."""


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
) -> dict[str, Any]:
    """Write a bundle to ``out``, atomically; a bundle that is there already is replaced.

    Args:
        out: folder of the bundle.
        shop: catalogue, observed profiles and similarity; its hidden parts stay out.
        book: reasons to show.
        scorer: the trained ranker.
        reasoner: folder with ``base`` and perhaps ``adapter``, or None to leave the model out.
        settings: how the bundle answers.
        metrics: figures for the model card, by stage.
        name: of the bundle.

    Returns:
        ``name``, ``files``, ``bytes``, ``reasoner`` and ``onnx_max_difference``.

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
    with atomic_folder(out) as folder:
        if reasoner is not None:
            _copy_reasoner(reasoner, folder / "reasoner")
        _save_shown(catalogue, folder / "catalogue")
        save_profiles(without_times(profiles), folder / "profiles")
        with atomic_path(folder / POPULARITY) as temporary:
            save_file({"popularity": popularity}, temporary)
        save_index(shop.index, folder / "similarity")
        save_book(book, folder / BOOK)
        save_scorer(scorer, folder / "ranker")
        difference = export_onnx(scorer, folder / ONNX)
        sizes = {file: path.stat().st_size for file, path in sorted(_walk(folder))}
        card = model_card(
            name, catalogue, settings.slots, settings.pool, metrics, sizes,
            written=Counter(book.table["source"]), reasoner=reasoner is not None,
        )  # fmt: skip
        write_text(folder / CARD, card)
        facts = {
            "name": name,
            "shop": {
                "name": catalogue.name,
                "locale": catalogue.locale,
                "currency": catalogue.currency,
                "items": catalogue.n_items,
                "shoppers": len(profiles.shopper_ids),
                "segments": profiles.n_segments,
            },
            "settings": settings,
            "item_features": ITEM_FEATURES,
            "context_features": CONTEXT_FEATURES,
            "onnx_max_difference": difference,
        }
        manifest = seal(folder, facts)
    return {
        "name": name,
        "files": len(manifest.files),
        "bytes": sum(entry.bytes for entry in manifest.files.values()),
        "reasoner": reasoner is not None,
        "onnx_max_difference": difference,
    }


def require_features(items: Sequence[str], context: Sequence[str], where: str) -> None:
    """Raise `UserError` unless a ranker reads exactly what `envs.observation` makes."""
    for kind, found, known in (
        ("item", items, ITEM_FEATURES),
        ("context", context, CONTEXT_FEATURES),
    ):
        if tuple(found) != known:
            odd = sorted(set(found) ^ set(known)) or ["their order"]
            raise UserError(
                f"{where}: the ranker reads other {kind} features than this version of the shop "
                f"has ({', '.join(odd)}); train the ranker again"
            )


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


def seal(folder: Path, facts: Mapping[str, Any]) -> Manifest:
    """Write the manifest over all files now in ``folder``; ``facts`` are its other fields."""
    files = {
        name: FileEntry(sha256=sha256(path), bytes=path.stat().st_size)
        for name, path in sorted(_walk(folder))
    }
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: version(name) for name in LIBRARIES},
        files=files,
        **facts,
    )
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    write_text(folder / DIGEST, _digest_line(folder))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a bundle without looking at the other files.

    Raises:
        UserError: for a folder that is no bundle, a newer schema, or a damaged manifest.
    """
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise UserError(f"bundle {folder}: it has no {MANIFEST}; give the folder of a bundle")
    try:
        raw = read_json(path)
        schema = raw["schema_version"] if isinstance(raw, dict) else None
    except (ValueError, KeyError) as error:
        raise _damaged(folder, MANIFEST, f"it cannot be read ({error})") from error
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise UserError(
            f"bundle {folder}: schema_version {schema} is newer than {SCHEMA_VERSION}, the newest "
            "known here; update shelftalk"
        )
    line = folder / DIGEST
    if not line.is_file() or line.is_symlink():
        raise _damaged(folder, DIGEST, "it is missing")
    if line.read_bytes() != _digest_line(folder).encode():
        raise _damaged(folder, MANIFEST, f"its SHA-256 is not the one in {DIGEST}")
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _damaged(folder, MANIFEST, f"{where}: {first['msg']}") from error


def check_bundle(folder: Path) -> Manifest:
    """Compare every file with the manifest and return it.

    Raises:
        UserError: for the first file that is changed, missing, too many, a link, or of a kind
            that does not belong in a bundle.
    """
    manifest = read_manifest(folder)
    for name in manifest.files:
        _require_kind(folder, name)
    found = dict(_walk(folder))
    for name in found:
        _require_kind(folder, name)
        if name not in manifest.files:
            raise _damaged(folder, name, f"{MANIFEST} does not list it, so it should not be here")
    for name, entry in manifest.files.items():
        if name not in found:
            raise _damaged(folder, name, "it is missing")
        size = found[name].stat().st_size
        if size != entry.bytes:
            raise _damaged(folder, name, f"it has {size} bytes, not the {entry.bytes} exported")
        if sha256(found[name]) != entry.sha256:
            raise _damaged(folder, name, f"its content is not what was exported (see {MANIFEST})")
    return manifest


def has_allowed_kind(name: str) -> bool:
    """Whether a file of this name may be in a bundle."""
    return Path(name).suffix in KINDS


def _require_kind(folder: Path, name: str) -> None:
    if not has_allowed_kind(name):
        raise _damaged(folder, name, f"a bundle holds only {' '.join(KINDS)} files")


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield relative name and path of every file but the manifest and its digest.

    A link is refused wherever it points: what it shows can change without the bundle changing.
    """
    for parent, folders, names in os.walk(folder, followlinks=False):
        for name in (*folders, *names):
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise _damaged(folder, relative, "a bundle holds plain files, no links")
            if path.is_file() and relative not in (MANIFEST, DIGEST):
                yield relative, path


def _digest_line(folder: Path) -> str:
    return f"{sha256(folder / MANIFEST)}  {MANIFEST}\n"


def _damaged(folder: Path, name: str, why: str) -> UserError:
    return UserError(f"bundle {folder}: file {name!r}: {why}; copy or export the bundle again")
