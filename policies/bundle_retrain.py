"""A bundle with another ranker: all else as it was, self-test, card and manifest made anew."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from envs.catalogue import load_catalogue
from envs.errors import UserError
from envs.files import atomic_folder, sha256
from policies.bundle_export import finish, versions
from policies.bundle_files import (
    BOOK,
    CARD,
    MANIFEST,
    ONNX,
    Manifest,
    Retrained,
    check_bundle,
    walk,
)
from policies.bundle_selftest import SELF_TEST
from policies.ranker.onnx_export import export_onnx
from policies.ranker.scorer import SlateScorer, save_scorer

#: Where the model cards of the bundles before stay.
EARLIER = "earlier"


def write_retrained(
    source: Path, out: Path, scorer: SlateScorer, retrained: Retrained, ope: Mapping[str, Any]
) -> Manifest:
    """Write the bundle ``source`` with another ranker to the new folder ``out``, atomically.

    Args:
        source: a bundle, which stays as it is.
        out: a folder that is not there yet, or empty.
        scorer: the ranker; it reads the same features.
        retrained: the log that it was fitted to.
        ope: ``estimates`` and ``verdict`` on it, for manifest and card.

    Raises:
        UserError: ``source`` is no sound bundle, or ``out`` exists.
    """
    require_new(out)
    before = check_bundle(source)
    with atomic_folder(out) as folder:
        for name, path in walk(source):
            if name in (CARD, SELF_TEST) or name.startswith("ranker/"):
                continue
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        (folder / EARLIER).mkdir(exist_ok=True)
        shutil.copyfile(source / CARD, folder / EARLIER / f"{bundle_id(source)}.md")
        save_scorer(scorer, folder / "ranker")
        again = "shelftalk retrain BUNDLE LOG OUT"
        facts = {name: getattr(before, name) for name in Manifest.model_fields} | {
            "versions": versions(),
            "source": before.source.model_copy(
                update={"commands": (*before.source.commands, again)}
            ),
            # Both were measured with the ranker of before.
            "measured": {part: one for part, one in before.measured.items() if part != "ranker"},
            "evaluation": [],
            "ope": dict(ope),
            "retrained": retrained,
            "onnx_max_difference": export_onnx(scorer, folder / ONNX),
        }
        for found in ("schema_version", "created", "files"):
            del facts[found]
        written = Counter(pq.read_table(folder / BOOK, columns=["source"])["source"].to_pylist())
        catalogue = load_catalogue(folder / "catalogue")
        return finish(folder, facts, catalogue, {"ope": dict(ope)}, written)


def require_new(out: Path) -> None:
    """Raise `UserError` where something stands at ``out``."""
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"retrain: {out} exists and is not empty; give a new folder")


def bundle_id(folder: Path) -> str:
    """Return what a bundle of this folder calls itself."""
    return sha256(folder / MANIFEST)[:16]
