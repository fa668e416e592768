"""A bundle at work: loaded from its folder, it orders items for a shopper and says why.

Needs neither ray nor trl; transformers and peft only where reasons are to be written live. A loaded
bundle is never changed by an answer, so threads may share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from envs.catalogue import Catalogue, load_catalogue
from envs.errors import UserError, nearest
from envs.liking import Likes, learn_likes
from envs.observation import ItemFacts, context_features, item_facts, item_features
from envs.shoppers import Profiles, price_z
from envs.similarity import (
    SCENES,
    SCORES,
    Anchors,
    ItemIndex,
    query_anchors,
    score,
    shopper_anchors,
)
from envs.store import load_index, load_profiles
from envs.world import relative_margin
from policies.bundle_files import (
    BOOK,
    ONNX,
    POPULARITY,
    BundleSettings,
    Manifest,
    check_bundle,
    export_bundle,
    read_manifest,
    require_features,
)
from policies.bundle_rules import Filters, decode, filtered, notes_on, with_pins
from policies.constraints import ShelfRules, shelf_rules
from policies.explain import explain, feature_groups
from policies.ranker.scorer import load_scorer
from policies.reasoner.book import Writer, load_book, prompts_for
from rewards.claims import ClaimChecker
from rewards.guards import veto
from sft.tasks import segment_likes

__all__ = [
    "Bundle",
    "BundleSettings",
    "Filters",
    "Manifest",
    "Shelf",
    "ShelfItem",
    "check_bundle",
    "export_bundle",
    "load_bundle",
]

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Backend = Literal["torch", "onnx"]
#: From context (1, C_ctx), items (1, N, F) and mask (1, N) to logits (1, N) float32.
Logits = Callable[[dict[str, F32]], F32]

_HOME, _SEARCH = SCENES.index("home"), SCENES.index("search")
_TEXT, _SCENE = SCORES.index("text"), SCORES.index("scene")
_INPUTS = ("context", "items", "mask")
_NO_REASON: dict[str, Any] = {"text": "", "source": "none", "claims": []}


@dataclass(frozen=True)
class ShelfItem:
    """One item on a shelf, and why it is there."""

    item_id: str
    title: str
    brand: str
    #: In the catalogue's currency.
    price: float
    #: The ranker's logit: comparable within one shelf only.
    score: float
    reason: str
    #: `model`, `fallback`, `live` (written for this shelf) or `none`.
    reason_source: str
    #: Phrases of the reason that the item's facts support.
    claims: list[str]
    #: The six scores in [0, 1] by name.
    similarity: dict[str, float]
    #: What each group of features added to the score over that of an average candidate in the
    #: item's place, by name (`policies.explain`); empty unless asked for.
    contributions: dict[str, float]


@dataclass(frozen=True)
class Shelf:
    """Items, best first, and what they were chosen for."""

    items: list[ShelfItem]
    #: What the reader should know of this shelf, in plain words.
    notes: list[str]
    #: `home` or `search`.
    scene: str
    #: The shopper it was made for; None where the average shopper stood in.
    shopper: str | None
    segment: int
    #: Aspects that the segment likes most, best first.
    likes: list[str]


@dataclass(frozen=True)
class Visit:
    """What a shelf is made for."""

    #: Row in the profiles; the last one is the average shopper.
    row: int
    scene: int
    #: The six scores of every item, (I, 6) float32.
    scores: F32


@dataclass(frozen=True)
class Bundle:
    """An exported shelf, ready to answer."""

    manifest: Manifest
    catalogue: Catalogue
    #: Known shoppers, and the average shopper as one more row.
    profiles: Profiles
    #: Row in the profiles by shopper id.
    rows: dict[str, int]
    index: ItemIndex
    facts: ItemFacts
    #: Row of the reason book by (item_id, segment).
    book: dict[tuple[str, int], dict[str, Any]]
    logits: Logits
    #: The language model and the guard of what it writes; None shows the book.
    live: tuple[Writer, ClaimChecker] | None
    #: What every shelf keeps; None where nothing is asked.
    rules: ShelfRules | None = None
    #: What is expected of each shopper, the average one last; None expects nothing of anyone.
    likes: Likes | None = None

    def recommend(
        self,
        shopper: str | None,
        query: str | None = None,
        candidates: Sequence[str] | None = None,
        k: int | None = None,
        filters: Filters | None = None,
        explained: bool = False,
    ) -> Shelf:
        """Return the shelf of ``k`` items for a shopper, at home or in answer to a query.

        The shelf keeps the bundle's rules (``settings.constraints``); where they changed it, or
        the candidates cannot keep them, a note says so.

        Args:
            shopper: an id; None or an unknown one means the average shopper, with a note.
            query: words to search for; a query that nothing matches gets the home shelf, noted.
            candidates: ids of the items to order; the bundle chooses them where None.
            k: number of items; the bundle's `slots` where None.
            filters: prices and items that this request leaves out, before anything is ordered.
            explained: whether to say what put each item there; takes 256 ``k`` more scorings.

        Raises:
            UserError: for ``k`` below 1, no candidates, or an item the bundle does not know.
        """
        k = self.manifest.settings.slots if k is None else k
        if k < 1:
            raise UserError(f"recommend: k must be at least 1, but is {k}")
        notes: list[str] = []
        row = self._row(shopper, notes)
        given = None if candidates is None else self._items(candidates, notes)
        visit = self._visit(row, query, notes)
        rules = filtered(self.rules, filters or Filters(), self.catalogue)
        items = self.candidates(visit, rules) if given is None else _showable(given, rules, notes)
        if len(items) < k:
            notes.append(f"There are only {len(items)} candidates for the {k} items asked for.")
        logits = self._logits(visit, items)
        # Differences below the rounding of either backend must not decide the order.
        order = free = np.argsort(-np.round(logits, 5), kind="stable")[:k]
        if rules is not None and len(items):
            order, page = decode(rules, items, np.round(logits, 5), len(free))
            asked = self.manifest.settings.constraints
            notes += notes_on(page, order, free, rules, asked, self.catalogue)
        segment = int(self.profiles.segment[row])
        why = self._why(visit, items, order) if explained else [{} for _ in order]
        return Shelf(
            items=self._show(items[order], logits[order], visit, segment, why),
            notes=notes,
            scene=SCENES[visit.scene],
            shopper=shopper if shopper in self.rows else None,
            segment=segment,
            likes=segment_likes(self.catalogue, self.profiles)[segment],
        )

    def home(self, row: int) -> Visit:
        """Return the visit of a shopper row to the start page."""
        anchors = shopper_anchors(self.index, self.profiles, np.array([row]))
        return self._scored(row, _HOME, anchors)

    def search(self, row: int, query: str) -> Visit:
        """Return the visit of a shopper row with a query."""
        return self._scored(row, _SEARCH, query_anchors(self.index, [query]))

    def candidates(self, visit: Visit, rules: ShelfRules | None = None) -> I64:
        """Return the best items by equal-weight mean, best first; in search, only matching ones.

        Under rules, what they filter is left out, and pinned items come along.
        """
        order = np.argsort(-visit.scores.mean(axis=1), kind="stable")
        if visit.scene == _SEARCH:
            order = order[_matches(visit)[order]]
        pool = self.manifest.settings.pool
        return order[:pool] if rules is None else with_pins(rules, order, pool)

    def observation_for(self, visit: Visit, items: I64) -> dict[str, F32]:
        """Return the ranker's input for candidates (N,), as on the first page of a session.

        context (1, C_ctx), items (1, N, F), mask (1, N), float32.
        """
        nothing = np.zeros(1, dtype=np.float32)
        no_class = np.zeros((1, len(self.catalogue.classes)), dtype=np.float32)
        level = self.profiles.price_level[[visit.row]]
        features = item_features(
            self.facts, items[None], visit.scores[items][None],
            self.profiles.segment[[visit.row]], level, exposure=no_class, clicked=no_class,
            likes=self.likes, shopper=np.array([visit.row]),
        )  # fmt: skip
        # Nothing has been counted on a first page, so the units of the counts do not matter.
        context = context_features(
            np.array([visit.scene]), nothing, nothing, nothing, nothing, level,
            slots=1, max_pages=1,
        )  # fmt: skip
        mask = np.ones((1, len(items)), dtype=np.float32)
        return {"context": context, "items": features, "mask": mask}

    def _logits(self, visit: Visit, items: I64) -> F32:
        """Logits of the candidates, (N,); there may be none."""
        if not len(items):
            return np.zeros(0, dtype=np.float32)
        return self.logits(self.observation_for(visit, items))[0]

    def _scored(self, row: int, scene: int, anchors: Anchors) -> Visit:
        return Visit(row, scene, score(self.index, anchors)[0])

    def _row(self, shopper: str | None, notes: list[str]) -> int:
        if shopper is not None and shopper in self.rows:
            return self.rows[shopper]
        who = "No shopper was given" if shopper is None else f"Shopper {shopper!r} is not known"
        notes.append(f"{who}: this is the shelf of the average shopper.")
        return len(self.rows)

    def _items(self, candidates: Sequence[str], notes: list[str]) -> I64:
        if not len(candidates):
            raise UserError("recommend: the list of candidates is empty; name an item or leave it")
        position = self.catalogue.item_position
        for item in candidates:
            if item not in position:
                raise UserError(
                    f"recommend: item {item!r} is not in this bundle; give ids of its catalogue."
                    + nearest(item, position)
                )
        distinct = list(dict.fromkeys(candidates))
        if len(distinct) < len(candidates):
            notes.append("Items named more than once are shown once.")
        return np.array([position[item] for item in distinct], dtype=np.int64)

    def _visit(self, row: int, query: str | None, notes: list[str]) -> Visit:
        if query is not None:
            visit = self.search(row, query)
            if _matches(visit).any():
                return visit
            notes.append(f"Nothing matches {query!r}: this is the home shelf.")
        return self.home(row)

    def _why(self, visit: Visit, items: I64, order: I64) -> list[dict[str, float]]:
        """Contributions to each of the shown candidates, by group."""
        if not len(order):
            return []
        groups = feature_groups(self.manifest.item_features)
        found = explain(self.logits, self.observation_for(visit, items), order[None], groups)
        return [found.named(0, place) for place in range(len(order))]

    def _show(
        self,
        items: I64,
        logits: F32,
        visit: Visit,
        segment: int,
        why: list[dict[str, float]],
    ) -> list[ShelfItem]:
        table = self.catalogue.items.iloc[items]
        rows = zip(
            table["item_id"], table["title"], table["brand"], table["price"], logits,
            self._reasons(items, segment), visit.scores[items], why,
        )  # fmt: skip
        return [
            ShelfItem(
                item_id=item_id,
                title=title,
                brand=brand,
                price=float(price),
                score=float(logit),
                reason=reason["text"],
                reason_source=reason["source"],
                claims=list(reason["claims"]),
                similarity=dict(zip(SCORES, map(float, six))),
                contributions=parts,
            )
            for item_id, title, brand, price, logit, reason, six, parts in rows
        ]

    def _reasons(self, items: I64, segment: int) -> list[dict[str, Any]]:
        ids = self.catalogue.items["item_id"].to_numpy()[items]
        reasons = [self.book.get((item_id, segment), _NO_REASON) for item_id in ids]
        if self.live is None:
            return reasons
        write, checker = self.live
        segments = np.full(len(items), segment)
        texts = write(prompts_for(self.catalogue, self.profiles, items, segments))
        for place, (item, text) in enumerate(zip(items, texts)):
            found = checker.check(int(item), text)
            if veto(text, found) is None:
                claims = [claim.text for claim in found.claims]
                reasons[place] = {"text": text.strip(), "source": "live", "claims": claims}
        return reasons


def load_bundle(
    path: Path, verify: bool = True, backend: Backend = "torch", live: bool = False
) -> Bundle:
    """Read a bundle.

    Args:
        path: folder that `export_bundle` wrote.
        verify: compare every file with the manifest first.
        backend: what computes the logits; both give the same order.
        live: let the language model write the reasons of each shelf (seconds a shelf); where its
            text is vetoed, and for the ranking itself, the reasons in the book stand.

    Raises:
        UserError: for anything that `check_bundle` finds, or ``live`` without a language model.
    """
    manifest = check_bundle(path) if verify else read_manifest(path)
    require_features(manifest.item_features, manifest.context_features, f"bundle {path}")
    catalogue = load_catalogue(path / "catalogue")
    known = load_profiles(path / "profiles")
    index = load_index(path / "similarity")
    _ = index.word_items  # computed once here rather than by two threads at a time
    checker = ClaimChecker(catalogue)
    book = load_book(path / BOOK, catalogue, known.n_segments, checker)
    popularity = load_file(path / POPULARITY)["popularity"]
    asked = manifest.settings.constraints
    facts = item_facts(
        price_z(catalogue), popularity,
        relative_margin(catalogue), catalogue.class_index, book.arrays, known.segment_aspects,
        manifest.settings.words_free,
    )  # fmt: skip
    return Bundle(
        manifest=manifest,
        catalogue=catalogue,
        profiles=with_average(known, catalogue.n_items),
        rows={shopper: row for row, shopper in enumerate(known.shopper_ids)},
        index=index,
        facts=facts,
        book=book.lookup(),
        logits={"torch": _torch_logits, "onnx": _onnx_logits}[backend](path),
        live=(_live_writer(path), checker) if live else None,
        rules=(
            None
            if asked.idle
            else shelf_rules(asked, catalogue, popularity, manifest.settings.slots)
        ),
        likes=learn_likes(catalogue, known).with_average(),
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


def _showable(given: I64, rules: ShelfRules | None, notes: list[str]) -> I64:
    """Those of the given candidates that no filter leaves out."""
    if rules is None or rules.showable[given].all():
        return given
    kept = given[rules.showable[given]]
    notes.append(
        f"{len(given) - len(kept)} of the candidates are out of stock or outside the price band."
    )
    return kept


def _matches(visit: Visit) -> NDArray[np.bool_]:
    """True for items whose words or text have something of the query, (I,)."""
    return (visit.scores[:, _TEXT] > 0) | (visit.scores[:, _SCENE] > 0)


def _torch_logits(path: Path) -> Logits:
    scorer = load_scorer(path / "ranker")

    def logits(observation: dict[str, F32]) -> F32:
        with torch.no_grad():
            return scorer.logits(*(torch.from_numpy(observation[n]) for n in _INPUTS)).numpy()

    return logits


def _onnx_logits(path: Path) -> Logits:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a shelf is too small to share among threads
    session = onnxruntime.InferenceSession(
        str(path / ONNX), options, providers=["CPUExecutionProvider"]
    )
    return lambda observation: session.run(["logits"], {n: observation[n] for n in _INPUTS})[0]


def _live_writer(path: Path) -> Writer:
    if not (path / "reasoner").is_dir():
        raise UserError(f"bundle {path}: it has no language model; leave live off or export one")
    # The one place that needs transformers and peft.
    from policies.reasoner.generate import generate, load_reasoner

    model, tokenizer = load_reasoner(path / "reasoner")
    return lambda prompts: generate(model, tokenizer, prompts, greedy=True)
