"""Reading the texts to score, and what a catalogue knows of their items and shoppers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.catalogue import PHRASE_SEPARATOR, Catalogue, load_catalogue
from envs.errors import UserError, nearest
from envs.shoppers import Profiles, ShopperConfig, observe_profiles
from envs.store import load_profiles
from sft.metrics.meter import Rows
from sft.metrics.words import locale_of
from sft.table_file import read_rows
from sft.tasks import LIKES

I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

COLUMNS = (
    "text", "reference", "item_id", "shopper_id", "segment", "likes", "feature", "prompt",
)  # fmt: skip
#: Columns that hold prose; the others are names or numbers.
_PROSE = ("text", "reference", "feature", "prompt")
#: Texts that the language is read from.
_LANGUAGE_SAMPLE = 1_000


# --- the file ------------------------------------------------------------------------------------


def read_texts(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a JSONL or Parquet file; the columns we know get our names, others are left out.

    Args:
        path: the file, by its suffix: .jsonl or .parquet.
        columns: our name -> its name in the file.

    Raises:
        UserError: for a file that cannot be read, is empty, or has no texts.
    """
    for ours in columns:
        if ours not in COLUMNS:
            raise UserError(
                f"--map {ours}={columns[ours]}: the left side must be one of {', '.join(COLUMNS)}."
                f"{nearest(ours, COLUMNS)}"
            )
    return _checked(_named(read_rows(path), columns, path), path)


def _named(frame: pd.DataFrame, columns: Mapping[str, str], path: Path) -> pd.DataFrame:
    there = [str(column) for column in frame.columns]
    for ours, theirs in columns.items():
        if theirs not in there:
            raise UserError(
                f"{path}: --map {ours}={theirs} names a column that is missing; there are "
                f"{', '.join(there)}.{nearest(theirs, there)}"
            )
    out = {
        ours: frame[columns.get(ours, ours)] for ours in COLUMNS if columns.get(ours, ours) in there
    }
    if "text" not in out:
        raise UserError(
            f"{path}: column 'text' is missing; there are {', '.join(there)}. Say which holds the "
            "texts with --map text=NAME"
        )
    return pd.DataFrame(out)


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Check that prose is prose and that names are there, row by row."""
    for column in table.columns:
        for number, cell in enumerate(table[column], start=1):
            if column in _PROSE and not isinstance(cell, str):
                raise _bad(path, number, column, "a string", cell)
            if column in ("item_id", "shopper_id") and not _is_name(cell):
                raise _bad(path, number, column, "a string or a whole number", cell)
            if column == "segment" and not _is_whole(cell):
                raise _bad(path, number, column, "a whole number", cell)
            if column == "likes" and not isinstance(cell, (str, list, tuple, np.ndarray)):
                raise _bad(path, number, column, "a list of aspects", cell)
    return table


def _is_whole(cell: object) -> bool:
    return isinstance(cell, (int, np.integer)) and not isinstance(cell, bool)


def _is_name(cell: object) -> bool:
    return isinstance(cell, str) or _is_whole(cell)


def _bad(path: Path, number: int, column: str, kind: str, cell: object) -> UserError:
    return UserError(
        f"{path}, row {number}: {column} must be {kind}, but is {cell!r}; mend or drop the row, or "
        "leave the column out"
    )


# --- the catalogue -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """A catalogue and what is known of its shoppers."""

    catalogue: Catalogue
    #: None for a catalogue without a history.
    profiles: Profiles | None
    #: Whether the segments are those that texts were written for, not found anew just now.
    segments_kept: bool


def load_facts(folder: Path, seed: int) -> Facts:
    """Read a catalogue folder, or the one in a run and the profiles that its texts were written by.

    Raises:
        UserError: for a folder that holds no catalogue.
    """
    # A run has its catalogue stage, which has the catalogue beside what it saw of the shoppers.
    while (folder / "catalogue").is_dir():
        folder = folder / "catalogue"
    catalogue = load_catalogue(folder)
    if (folder.parent / "profiles.safetensors").exists():
        return Facts(catalogue, load_profiles(folder.parent), True)
    if not len(catalogue.history):
        return Facts(catalogue, None, False)
    segments = ShopperConfig().segments
    profiles = observe_profiles(catalogue, segments, np.random.default_rng(seed))
    return Facts(catalogue, profiles, False)


def rows_of(
    table: pd.DataFrame, facts: Facts | None, source: str, locale: str | None
) -> tuple[Rows, list[str]]:
    """Return the rows to score, and notes on what was left out.

    Raises:
        UserError: for an item, a segment or an aspect that the catalogue does not have.
    """
    texts = table["text"].tolist()
    if locale is None:
        sample = islice(texts, _LANGUAGE_SAMPLE)
        locale = facts.catalogue.locale if facts else locale_of(sample)

    def prose(column: str) -> list[str] | None:
        return table[column].tolist() if column in table else None

    items = likes = None
    notes: list[str] = []
    if facts is not None and "item_id" in table:
        items = _items(table["item_id"], facts.catalogue, source)
        likes = _likes(table, facts, source, notes)
    rows = Rows(
        texts=texts, locale=locale, references=prose("reference"), features=prose("feature"),
        prompts=prose("prompt"), items=items, readers=_readers(table, likes), likes=likes,
    )  # fmt: skip
    return rows, notes


def _items(ids: pd.Series, catalogue: Catalogue, source: str) -> I64:
    position = catalogue.item_position
    for number, item in enumerate(ids, start=1):
        if str(item) not in position:
            raise UserError(
                f"{source}, row {number}: item_id {item!r} is not in catalogue {catalogue.name}; "
                f"give the catalogue that the texts are about.{nearest(str(item), position)}"
            )
    return np.array([position[str(item)] for item in ids], dtype=np.int64)


def _readers(table: pd.DataFrame, likes: Bools | None) -> I64 | None:
    """Number the readers by shopper, else by segment, else by what they like."""
    for column in ("shopper_id", "segment"):
        if column in table:
            return pd.factorize(table[column].astype(str))[0].astype(np.int64)
    if likes is None:
        return None
    return np.unique(likes, axis=0, return_inverse=True)[1].astype(np.int64).ravel()


def _likes(table: pd.DataFrame, facts: Facts, source: str, notes: list[str]) -> Bools | None:
    """Likes of each row's reader, from the best source there is, (n, A) bool."""
    profiles = facts.profiles
    if "likes" in table:
        return _named_likes(table["likes"], facts.catalogue.aspects, source)
    if "segment" in table and profiles is not None and facts.segments_kept:
        return _segment_likes(table["segment"], profiles, source)
    if "shopper_id" in table and profiles is not None:
        return _shopper_likes(table["shopper_id"], profiles, notes)
    notes.append(
        "what the shoppers like is not known, so there is no profile match and no shopper swap; "
        "give column 'likes', or 'shopper_id' with a catalogue that has their history, or "
        "'segment' with the catalogue stage of the run"
    )
    return None


def _named_likes(cells: pd.Series, aspects: Sequence[str], source: str) -> Bools:
    place = {aspect: a for a, aspect in enumerate(aspects)}
    likes = np.zeros((len(cells), len(aspects)), dtype=bool)
    for row, cell in enumerate(cells):
        names = cell.split(PHRASE_SEPARATOR) if isinstance(cell, str) else list(cell)
        for name in map(str.strip, map(str, names)):
            if name and name not in place:
                raise UserError(
                    f"{source}, row {row + 1}: likes names {name!r}, which is no aspect of the "
                    f"catalogue; there are {', '.join(aspects)}.{nearest(name, aspects)}"
                )
            if name:
                likes[row, place[name]] = True
    return likes


def _segment_likes(cells: pd.Series, profiles: Profiles, source: str) -> Bools:
    table = np.zeros(profiles.segment_aspects.shape, dtype=bool)
    for segment in range(profiles.n_segments):
        table[segment, profiles.liked(segment, LIKES)] = True
    segments = cells.to_numpy(dtype=np.int64)
    strange = np.flatnonzero((segments < 0) | (segments >= len(table)))
    if len(strange):
        raise UserError(
            f"{source}, row {strange[0] + 1}: segment must be one of 0..{len(table) - 1}, but is "
            f"{segments[strange[0]]}; give the catalogue of the run that wrote the texts"
        )
    return table[segments]


def _shopper_likes(cells: pd.Series, profiles: Profiles, notes: list[str]) -> Bools:
    """The aspects that each shopper's own history favours most."""
    best = np.argsort(-profiles.aspects, axis=1, kind="stable")[:, :LIKES]
    table = np.zeros(profiles.aspects.shape, dtype=bool)
    np.put_along_axis(table, best, True, axis=1)
    table &= profiles.aspects > 0
    position = {shopper: row for row, shopper in enumerate(profiles.shopper_ids)}
    rows = np.array([position.get(str(shopper), -1) for shopper in cells], dtype=np.int64)
    if unknown := int((rows < 0).sum()):
        notes.append(f"rows of shoppers without a history, whose likes are unknown: {unknown:,}")
    return table[rows] & (rows >= 0)[:, None]
