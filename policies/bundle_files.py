"""What a bundle holds, its manifest, and the check of both: all that reading one needs.

    MODEL_CARD.md                  for people
    manifest.json                  versions, settings, size and SHA-256 of every file
    catalogue/                     items, facts and features; no history, no reviews, no queries
    profiles/                      what the histories say: of each shopper, what each is expected
                                   to like, how popular the items are
    similarity/                    the item index that the six scores are computed from
    ranker/                        the scorer as safetensors and JSON, and as ONNX
    reasons.parquet                the reason of each item and segment
    reasons_before.parquet         the reasons from before PPO, where they come along
    reasoner/base, .../adapter     the language model, where it comes along
    config.json                    the run's configuration, where it was a run's
    selftest.json                  ten requests and what the bundle answered to them
    earlier/                       model cards of the bundles that it was retrained from

Nothing hidden goes in: neither the simulated population nor the true relevance in the pools.

``manifest.json`` names every file with its size and SHA-256, and ``manifest.sha256.txt`` does the
same for the manifest, in the form that ``sha256sum --check`` reads. This finds damage, not forgery:
whoever may write the folder may also write new digests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from envs.errors import UserError
from envs.files import read_json, sha256
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.settings import Settings
from policies.bundle_session import SessionSettings
from policies.constraints import ConstraintsConfig

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
DIGEST = "manifest.sha256.txt"
CARD = "MODEL_CARD.md"
ONNX = "ranker/ranker.onnx"
BOOK = "reasons.parquet"
BOOK_BEFORE = "reasons_before.parquet"
POPULARITY = "profiles/popularity.safetensors"
CONFIG = "config.json"
LIKES = "profiles/likes.safetensors"
#: The kinds of files a bundle may hold: data and text, nothing that runs when it is read. A
#: `.jinja` is the chat template of a model that has one; shelftalk never renders it.
KINDS = (".safetensors", ".onnx", ".json", ".parquet", ".md", ".txt", ".jinja")


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
    session: SessionSettings = SessionSettings()
    """How what a shopper saw in this visit counts in the ranker's features."""
    w_click: float = 0.2
    """Reward of a click, of the shop that the ranker learned in."""
    w_buy: float = 1.0
    """Reward of a purchase, in median margins of the catalogue."""


class FileEntry(Settings):
    """Size and digest of one file."""

    sha256: str
    bytes: int


class Forms(Settings):
    """In which form the policies come along."""

    ranker: Literal["full", "linear", "pruned"] = "full"
    """As it was trained; distilled to a weighted sum of features; or with hidden units cut off."""
    reasoner: Literal["adapter", "merged", "int8", "none"] = "adapter"
    """Base and PEFT adapter; both in one; that in eight bits; or only what it wrote."""


class Source(Settings):
    """What a bundle was made from."""

    config_sha256: str = ""
    """Of the run's configuration, as `config.json` in the bundle has it."""
    data_sha256: str = ""
    """Of the run's catalogue with its histories, reviews and queries."""
    seed: int | None = None
    commands: tuple[str, ...] = ()
    """What makes it again."""


class Retrained(Settings):
    """The log that a bundle's ranker was fitted to."""

    bundle: str
    """Name and id of the bundle whose ranker it started from, as NAME (ID)."""
    impressions: int
    """Rows of the log, of `slates` pages in `sessions` visits."""
    slates: int
    sessions: int
    first: str
    """When the first of these pages was shown, and the last one: UTC, ISO 8601; "" if not told."""
    last: str
    logging_policies: tuple[str, ...]
    """What showed them."""
    dropped: dict[str, int]
    """Pages that could not be rebuilt, by reason."""
    held_out: int
    """Visits that it did not learn from, on which the rankers were compared."""
    temperature: float
    """Of the Plackett-Luce slates that were compared."""
    verdict: str


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
    forms: Forms
    source: Source
    measured: dict[str, Any]
    """What the forms cost beside the full ones, by `ranker` and `reasoner`; empty for the full."""
    evaluation: list[dict[str, Any]]
    """Paired differences of the policies in the simulated shop, with their intervals."""
    ope: dict[str, Any]
    """Off-policy estimates of the ranker, and the verdict on them; empty where there are none."""
    retrained: Retrained | None = None
    """Where the ranker was fitted to a feedback log (`shelftalk retrain`)."""
    item_features: tuple[str, ...]
    context_features: tuple[str, ...]
    onnx_max_difference: float
    """Largest difference of the ONNX ranker from the torch one, relative above one."""
    files: dict[str, FileEntry]
    """By path inside the bundle, with forward slashes; the manifest and its digest are not in."""


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


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a bundle without looking at the other files.

    Raises:
        UserError: for a folder that is no bundle, a newer schema, or a damaged manifest.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise UserError(f"bundle {folder}: there is no such folder")
    if not path.is_file() or path.is_symlink():
        of_run = folder / "export" / "bundle"
        hint = f"that of this run is {of_run}" if of_run.is_dir() else "give the folder of a bundle"
        raise UserError(f"bundle {folder}: it has no {MANIFEST}; {hint}")
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
    if isinstance(schema, int) and schema < SCHEMA_VERSION:
        raise UserError(
            f"bundle {folder}: schema_version {schema} is older than {SCHEMA_VERSION}, and lacks "
            "what a shelf is made with now; export the run again"
        )
    line = folder / DIGEST
    if not line.is_file() or line.is_symlink():
        raise _damaged(folder, DIGEST, "it is missing")
    if line.read_bytes() != digest_line(folder).encode():
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
    found = dict(walk(folder))
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


def walk(folder: Path) -> Iterator[tuple[str, Path]]:
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


def digest_line(folder: Path) -> str:
    """Return what stands in `DIGEST`."""
    return f"{sha256(folder / MANIFEST)}  {MANIFEST}\n"


def _damaged(folder: Path, name: str, why: str) -> UserError:
    return UserError(f"bundle {folder}: file {name!r}: {why}; copy or export the bundle again")
