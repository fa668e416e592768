"""The reason book: the text shown for each item and segment, with its claims, computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.catalogue import Catalogue
from envs.errors import UserError
from envs.files import atomic_path
from envs.reasons import ReasonTable, no_reasons
from envs.shoppers import Profiles
from policies.reasoner.fallback import permitted_reason
from rewards.claims import ClaimChecker, TextClaims, claim_matrix
from rewards.guards import veto
from sft.tasks import item_briefs, reason_prompt, segment_likes

I64 = NDArray[np.int64]

#: Turns n prompts into n texts.
Writer = Callable[[list[str]], list[str]]
COLUMNS = ("item_id", "segment", "text", "source", "claims", "unsupported", "words")


@dataclass(frozen=True)
class ReasonBook:
    """One row an (item, segment): item_id, segment, text, source, claims, unsupported, words.

    ``source`` is ``model`` or ``fallback``; ``claims`` lists the supported phrases as matched.
    """

    table: pd.DataFrame
    arrays: ReasonTable

    def lookup(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return rows by (item_id, segment)."""
        return {
            (str(record["item_id"]), int(record["segment"])): {str(k): v for k, v in record.items()}
            for record in self.table.to_dict("records")
        }


def every_pair(items: I64, segments: int) -> tuple[I64, I64]:
    """Return item and segment of every pair, item by item, (len(items) * S,) each."""
    return np.repeat(items, segments), np.tile(np.arange(segments), len(items))


def prompts_for(catalogue: Catalogue, profiles: Profiles, items: I64, segments: I64) -> list[str]:
    """Return the prompt of each (item, segment)."""
    briefs, likes = item_briefs(catalogue), segment_likes(catalogue, profiles)
    return [reason_prompt(briefs[i], likes[s]) for i, s in zip(items, segments)]


def write_book(
    catalogue: Catalogue,
    profiles: Profiles,
    checker: ClaimChecker,
    write: Writer | None,
    items: I64,
    rng: np.random.Generator,
) -> tuple[ReasonBook, dict[str, Any]]:
    """Write reasons for the given items and every segment; vetoed texts give way to the fallback.

    Args:
        catalogue: the shop's catalogue.
        profiles: segments to write for.
        checker: finds the claims.
        write: the model, or None for a book of fallbacks.
        items: item indexes to write for; the others show no reason.
        rng: varies the fallback's sentences.

    Returns:
        The book, and counts: texts, fallbacks, vetoes by reason.
    """
    rows, segments = every_pair(items, profiles.n_segments)
    briefs, likes = item_briefs(catalogue), segment_likes(catalogue, profiles)
    texts: Sequence[str | None] = [None] * len(rows)
    if write is not None:
        texts = write(prompts_for(catalogue, profiles, rows, segments))

    def may_show(item: int) -> Callable[[str], bool]:
        return lambda text: _judged(checker, item, text)[0] is None

    vetoes: Counter[str] = Counter()
    shown, sources, checked = [], [], []
    for item, segment, text in zip(rows, segments, texts):
        why, found = _judged(checker, int(item), text)
        if why is not None:
            vetoes[why] += 1
            text = permitted_reason(briefs[item], likes[segment], rng, may_show(int(item)))
            found = checker.check(int(item), text)
        shown.append(str(text).strip())
        sources.append("model" if why is None else "fallback")
        checked.append(found)
    book = _make_book(catalogue, profiles.n_segments, checked, rows, segments, shown, sources)
    counts = {"texts": len(shown), "fallbacks": sum(vetoes.values()), "vetoes": dict(vetoes)}
    return book, counts


def _judged(checker: ClaimChecker, item: int, text: str | None) -> tuple[str | None, TextClaims]:
    """Return why a text must not be shown, None if it may, and what it claims."""
    if text is None:
        return "no model", TextClaims((), 0)
    found = checker.check(item, text)
    return veto(text, found), found


def _make_book(
    catalogue: Catalogue, n_segments: int, checked: Sequence[TextClaims], items: I64,
    segments: I64, texts: list[str], sources: list[str],
) -> ReasonBook:  # fmt: skip
    aspects = len(catalogue.aspects)
    claims, unsupported, words = claim_matrix(checked, aspects)
    arrays = no_reasons(catalogue.n_items, n_segments, aspects)
    arrays.claims[items, segments] = claims
    arrays.unsupported[items, segments] = unsupported
    arrays.words[items, segments] = words
    table = pd.DataFrame(
        {
            "item_id": catalogue.items["item_id"].to_numpy()[items],
            "segment": segments,
            "text": texts,
            "source": sources,
            "claims": [[c.text for c in found.claims if c.supported] for found in checked],
            "unsupported": unsupported.astype(np.int64),
            "words": words.astype(np.int64),
        }
    )
    return ReasonBook(table, arrays)


def save_book(book: ReasonBook, path: Path) -> None:
    """Write the book's table as Parquet, atomically."""
    with atomic_path(path) as temporary:
        book.table.to_parquet(temporary, index=False)


def load_book(
    path: Path, catalogue: Catalogue, n_segments: int, checker: ClaimChecker
) -> ReasonBook:
    """Read a book and find its claims again, so that a file cannot vouch for its own truth.

    Raises:
        UserError: for an unreadable file, a missing column, an unknown item, a segment that the
            shop does not have or a text that is none.
    """
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # the reader raises many kinds, all meaning "not readable"
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{path}: cannot be read as a reason book ({why}); write the book anew"
        ) from error
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing; write the book anew")
    unknown = table.loc[~table["item_id"].isin(catalogue.item_position.keys()), "item_id"]
    if len(unknown):
        raise UserError(
            f"{path}: item {unknown.iloc[0]!r} is not in catalogue {catalogue.name}; "
            "the book belongs to another catalogue"
        )
    strange = table.loc[~table["segment"].isin(range(n_segments)), "segment"]
    if len(strange):
        raise UserError(
            f"{path}: segment must be one of 0..{n_segments - 1}, the segments of this shop, but "
            f"is {strange.tolist()[0]!r}; the book belongs to another shop"
        )
    if not all(isinstance(text, str) for text in table["text"]):
        raise UserError(f"{path}: every text must be a string, but one is not; write the book anew")
    items = np.array([catalogue.item_position[i] for i in table["item_id"]], dtype=np.int64)
    texts = table["text"].tolist()
    checked = [checker.check(int(item), text) for item, text in zip(items, texts)]
    return _make_book(
        catalogue, n_segments, checked, items, np.array(table["segment"], dtype=np.int64),
        texts, table["source"].tolist(),
    )  # fmt: skip
