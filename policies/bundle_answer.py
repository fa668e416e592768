"""A bundle at work: it orders items for a shopper and says why.

Never changed by an answer, so threads may share it: what it keeps for the next request is only
what it would compute again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from envs.anchor_scores import item_anchor, query_anchor, shopper_anchor
from envs.catalogue import Catalogue
from envs.errors import UserError, nearest
from envs.feedback import PROPENSITIES
from envs.item_index import ItemIndex
from envs.liking import Likes
from envs.observation import context_features, item_features
from envs.shoppers import Profiles
from envs.similarity import SCENES, SCORES
from policies.bundle_files import Manifest
from policies.bundle_live import LiveReasons
from policies.bundle_ranker import Logits, similarity_logits
from policies.bundle_reasons import NO_REASON, Reasons, ShownReason
from policies.bundle_rules import Filters, filtered, not_known, showable, with_pins
from policies.bundle_session import Past, Session, past_of
from policies.bundle_shelf import Labels, Shelf, ShelfItem
from policies.bundle_slate import Explore, choose_slate
from policies.bundle_visit import HOME, SEARCH, SIMILAR, Place, Visit
from policies.constraints import ShelfRules
from policies.explain import explain, feature_groups
from policies.logging_policies import TopK

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: `tuned`: the exported ranker; `similarity`: the equal-weight mean of the six scores.
Ranker = Literal["tuned", "similarity"]
#: `tuned`: the exported book; `before`: that of before PPO; `none`: no reason is shown.
WhichReasons = Literal["tuned", "before", "none"]

#: Bytes of places that are kept for the next request.
_KEPT = 2**26


@dataclass(frozen=True)
class Bundle:
    """An exported shelf, ready to answer."""

    manifest: Manifest
    #: First 16 hex digits of the manifest's SHA-256: which bundle answered.
    id: str
    catalogue: Catalogue
    #: Known shoppers, and the average shopper as one more row.
    profiles: Profiles
    #: Row in the profiles by shopper id.
    rows: dict[str, int]
    #: What each shopper met, weighted, the average one last; sparse (U + 1, I).
    met: sparse.csr_matrix
    index: ItemIndex
    labels: Labels
    #: By name: `tuned`, `none`, and `before` where it came along.
    reasons: dict[str, Reasons]
    logits: Logits
    #: Aspects that each segment likes most, best first.
    segment_likes: list[list[str]]
    #: What is expected of each shopper, the average one last.
    likes: Likes
    #: What every shelf keeps; None where nothing is asked.
    rules: ShelfRules | None = None
    #: Writes what the book lacks; None shows the book alone.
    live: LiveReasons | None = None

    def recommend(
        self,
        shopper: str | None,
        query: str | None = None,
        candidates: Sequence[str] | None = None,
        k: int | None = None,
        filters: Filters | None = None,
        explained: bool = False,
        *,
        item: str | None = None,
        session: Session | None = None,
        explore: Explore | None = None,
        ranker: Ranker = "tuned",
        reasons: WhichReasons = "tuned",
    ) -> Shelf:
        """Return the shelf of ``k`` items for a shopper: at home, beside an item, or for a query.

        The shelf keeps the bundle's rules (``settings.constraints``); where they changed it, or
        the candidates cannot keep them, a note says so. Whatever else is not as asked is noted too.

        Args:
            shopper: an id; None or an unknown one means the average shopper.
            query: words to search for; a query that nothing matches gets the home shelf.
            candidates: ids of the items to order; the bundle chooses them where None.
            k: number of items; the bundle's `slots` where None.
            filters: prices and items that this request leaves out, before anything is ordered.
            explained: whether to say what put each item there; takes 256 ``k`` more scorings.
            item: id of the item to show others beside; an unknown one gets the home shelf.
            session: what the shopper saw in this visit; items bought in it are not shown again.
            explore: how to sample the slate; None shows the best one.
            ranker: what orders: the exported ranker or the equal-weight similarity.
            reasons: what stands beside the items, which the ranker sees too.

        Raises:
            UserError: for ``k`` below 1, no candidates, none that the bundle knows, an item and a
                query at once, or reasons that the bundle does not hold.
        """
        k = self.manifest.settings.slots if k is None else k
        if k < 1:
            raise UserError(f"recommend: k must be at least 1, but is {k}")
        book = self._book(reasons)
        logits_of = self._ranker(ranker)
        notes: list[str] = []
        row = self._row(shopper, notes)
        visit = self._visit(row, query, item, notes)
        past = self.past(session)
        if past.unknown:
            notes.append(not_known(sorted(past.unknown), "of the session"))
        rules = filtered(self.rules, filters or Filters(), self.catalogue)
        items = self._to_order(visit, past, candidates, rules, notes)
        if len(items) < k:
            notes.append(f"There are only {len(items)} candidates for the {k} items asked for.")
        seen = self.observation_for(visit, items, past, book)
        logits = logits_of(seen)[0] if len(items) else np.zeros(0, dtype=np.float32)
        slate = choose_slate(
            items, logits, min(k, len(items)), rules, self.manifest.settings.constraints,
            self.catalogue, explore,
        )  # fmt: skip
        order, notes = slate.order, notes + slate.notes
        why = self._why(logits_of, seen, order) if explained else [{} for _ in order]
        segment = int(self.profiles.segment[row])
        return Shelf(
            items=self._show(
                items[order],
                logits[order],
                seen["items"][0, order],
                segment,
                book,
                why,
                slate.chances,
            ),
            notes=notes,
            scene=SCENES[visit.scene],
            shopper=shopper if shopper in self.rows else None,
            segment=segment,
            likes=self.segment_likes[segment],
            policy=(TopK() if explore is None else explore.rule).name,
            candidates=[self.labels.ids[place] for place in items.tolist()],
        )

    # Places: what is scored, kept for the next request there.

    def home(self, row: int) -> Visit:
        """Return the visit of a shopper row to the start page."""
        return Visit(row, self._places((HOME, row)))

    def beside(self, row: int, item: int) -> Visit:
        """Return the visit of a shopper row to the page of an item index."""
        return Visit(row, self._places((SIMILAR, item)))

    def search(self, row: int, query: str) -> Visit:
        """Return the visit of a shopper row with a query."""
        return Visit(row, self._places((SEARCH, query)))

    @cached_property
    def _places(self) -> Callable[[tuple[int, Any]], Place]:
        most = max(_KEPT // Place.most_bytes(self.index), 1)
        return lru_cache(maxsize=most)(self._place)

    def _place(self, what: tuple[int, Any]) -> Place:
        scene, which = what
        if scene == SIMILAR:
            return Place(scene, self.index, item_anchor(self.index, which), which)
        if scene == SEARCH:
            return Place(scene, self.index, query_anchor(self.index, which))
        anchor = shopper_anchor(self.index, self.profiles, self.met, which)
        return Place(scene, self.index, anchor)

    def candidates(
        self, visit: Visit, rules: ShelfRules | None = None, without: I64 | None = None
    ) -> I64:
        """Return the best items by equal-weight mean, best first; in search, only matching ones.

        Items of ``without`` are left out. Under rules, so is what they filter, and pinned items
        come along.
        """
        order, pool = visit.place.ordered, self.manifest.settings.pool
        if without is not None and len(without):
            order = order[~np.isin(order, without)]
        return order[:pool] if rules is None else with_pins(rules, order, pool)

    def past(self, session: Session | None = None) -> Past:
        """Return what the ranker is told of a session; None is the first page of one."""
        settings, catalogue = self.manifest.settings, self.catalogue
        return past_of(
            session or Session(), catalogue.item_position, catalogue.class_index,
            len(catalogue.classes), settings.slots, settings.session,
        )  # fmt: skip

    def observation_for(
        self, visit: Visit, items: I64, past: Past | None = None, book: Reasons | None = None
    ) -> dict[str, F32]:
        """Return the ranker's input for candidates (N,): context, items and mask.

        context (1, C_ctx), items (1, N, F), mask (1, N), float32. Without a past it is the first
        page of a session; without a book the reasons are the tuned ones.
        """
        settings, level = self.manifest.settings, self.profiles.price_level[[visit.row]]
        past = past or self.past()
        features = item_features(
            (book or self.reasons["tuned"]).facts, items[None], visit.place.scores_of(items)[None],
            self.profiles.segment[[visit.row]], level, exposure=past.exposure[None],
            clicked=past.clicked[None], likes=self.likes, shopper=np.array([visit.row]),
        )  # fmt: skip
        page, last, clicks, buys = (
            np.array([count], dtype=np.float32)
            for count in (past.page, past.clicks_last, past.clicks, past.purchases)
        )
        context = context_features(
            np.array([visit.scene]), page, last, clicks, buys, level,
            slots=settings.slots, max_pages=settings.session.max_pages,
        )  # fmt: skip
        mask = np.ones((1, len(items)), dtype=np.float32)
        return {"context": context, "items": features, "mask": mask}

    # What was asked.

    def _book(self, reasons: str) -> Reasons:
        if reasons not in self.reasons:
            raise UserError(
                f"recommend: reasons must be one of {', '.join(self.reasons)} in this bundle, but "
                f"is {reasons!r}"
            )
        return self.reasons[reasons]

    def _ranker(self, ranker: str) -> Logits:
        if ranker not in ("tuned", "similarity"):
            raise UserError(f"recommend: ranker must be tuned or similarity, but is {ranker!r}")
        return self.logits if ranker == "tuned" else similarity_logits

    def _row(self, shopper: str | None, notes: list[str]) -> int:
        if shopper is not None and shopper in self.rows:
            return self.rows[shopper]
        who = "No shopper was given" if shopper is None else f"Shopper {shopper!r} is not known"
        notes.append(f"{who}: this is the shelf of the average shopper.")
        return len(self.rows)

    def _visit(self, row: int, query: str | None, item: str | None, notes: list[str]) -> Visit:
        if query is not None and item is not None:
            raise UserError("recommend: give a query or an item to stand beside, not both")
        if query is not None:
            visit = self.search(row, query)
            if visit.place.matches.any():
                return visit
            notes.append(f"Nothing matches {query!r}: this is the home shelf.")
        elif item is not None:
            beside = self.catalogue.item_position.get(item)
            if beside is not None:
                return self.beside(row, beside)
            notes.append(f"Item {item!r} is not known: this is the home shelf.")
        return self.home(row)

    def _to_order(
        self, visit: Visit, past: Past, candidates: Sequence[str] | None,
        rules: ShelfRules | None, notes: list[str],
    ) -> I64:  # fmt: skip
        """Return the items that may be shown, (N,); there may be none."""
        if candidates is None:
            return self.candidates(visit, rules, past.bought)
        given = self._items(candidates, notes)
        beside = visit.place.beside
        for gone, why in (
            (past.bought, "were bought"),
            ([beside] if beside >= 0 else [], "are looked at"),
        ):
            kept = given[~np.isin(given, gone)] if len(gone) else given
            if len(kept) < len(given):
                notes.append(f"{len(given) - len(kept)} of the candidates {why} in this visit.")
            given = kept
        return showable(given, rules, notes)

    def _items(self, candidates: Sequence[str], notes: list[str]) -> I64:
        if not len(candidates):
            raise UserError("recommend: the list of candidates is empty; name an item or leave it")
        position = self.catalogue.item_position
        distinct = dict.fromkeys(candidates)
        if len(distinct) < len(candidates):
            notes.append("Items named more than once are shown once.")
        unknown = [item for item in distinct if item not in position]
        if len(unknown) == len(distinct):
            raise UserError(
                f"recommend: item {unknown[0]!r} is not in this bundle; give ids of its catalogue."
                + nearest(unknown[0], position)
            )
        if unknown:
            notes.append(not_known(unknown, "among the candidates"))
        known = [position[item] for item in distinct if item in position]
        return np.array(known, dtype=np.int64)

    # What is shown.

    def _why(self, logits: Logits, seen: dict[str, F32], order: I64) -> list[dict[str, float]]:
        """Contributions to each of the shown candidates, by group."""
        if not len(order):
            return []
        groups = feature_groups(self.manifest.item_features)
        found = explain(logits, seen, order[None], groups)
        return [found.named(0, place) for place in range(len(order))]

    def _show(
        self, items: I64, logits: F32, features: F32, segment: int, book: Reasons,
        why: list[dict[str, float]], chances: dict[str, F64],
    ) -> list[ShelfItem]:  # fmt: skip
        labels, six = self.labels, features[:, : len(SCORES)].tolist()
        likely = list(zip(*(chances[name].tolist() for name in PROPENSITIES)))
        reasons = self._reasons(items.tolist(), segment, book)
        return [
            ShelfItem(
                position=position,
                item_id=labels.ids[item],
                title=labels.titles[item],
                brand=labels.brands[item],
                price=labels.prices[item],
                score=score,
                reason=reason.text,
                reason_id=reason.reason_id,
                reason_source=reason.source,
                claims=list(reason.claims),
                facts=list(reason.facts),
                similarity=dict(zip(SCORES, six[position])),
                contributions=why[position],
                pscore=likely[position][0],
                pscore_cascade=likely[position][1],
                pscore_item_position=likely[position][2],
            )
            for position, (item, score, reason) in enumerate(
                zip(items.tolist(), logits.tolist(), reasons)
            )
        ]

    def _reasons(self, items: list[int], segment: int, book: Reasons) -> list[ShownReason]:
        reasons = [book.of(self.labels.ids[item], segment) for item in items]
        if self.live is None or book is not self.reasons["tuned"]:
            return reasons
        missing = [place for place, reason in enumerate(reasons) if reason is NO_REASON]
        if missing:
            written = self.live.beside([items[place] for place in missing], segment)
            for place, reason in zip(missing, written):
                reasons[place] = reason
        return reasons
