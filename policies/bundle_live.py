"""Reasons written on request, for what the book lacks: in the background, in time, and guarded.

One thread owns the language model, whatever number of threads ask. It writes what waits in one
batch and keeps each text by item and segment, so that whoever asks next has it at once. Nobody
waits longer than the deadline: until the text is there, the rule-based writer stands in, which is
quick and needs no model. A text that the guard does not let through is never shown; that it was not
is kept too, so that it is not asked for again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from envs.catalogue import Catalogue
from envs.shoppers import Profiles
from policies.bundle_reasons import ShownReason, reason_id
from policies.reasoner.book import Writer
from policies.reasoner.fallback import permitted_reason
from rewards.claims import ClaimChecker
from rewards.evidence import Evidence
from rewards.guards import veto
from sft.tasks import item_briefs, reason_prompt, segment_likes

#: Seconds that a shelf waits for its texts.
DEADLINE = 0.15
#: Texts kept, the latest asked for; texts that may wait; and those written at once.
_KEPT, _MOST_WAITING, _BATCH = 4_096, 256, 16

#: What became of one text that was asked for: it was kept (`hit`); it was written in time (`miss`);
#: it was not (`late`); the guard refuses it (`vetoed`); too many wait (`refused`); the model broke
#: (`failed`). All but the first two show the fallback.
Outcome = Literal["hit", "miss", "late", "vetoed", "refused", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("hit", "miss", "late", "vetoed", "refused", "failed")
#: Told of each outcome; called by the thread that asked.
Tell = Callable[[Outcome], None]

_Pair = tuple[int, int]


class LiveReasons:
    """The language model at work, and the guard of what it writes; threads may share it."""

    def __init__(
        self,
        write: Writer,
        catalogue: Catalogue,
        profiles: Profiles,
        deadline: float = DEADLINE,
        kept: int = _KEPT,
    ) -> None:
        """Put a writer behind the guard of a catalogue.

        Args:
            write: the language model; called by one thread at a time, always the same.
            catalogue: what may be claimed of each item.
            profiles: whom the segments are made of.
            deadline: seconds that `beside` waits at most.
            kept: texts kept, those asked for latest.
        """
        #: Told of what became of each text that was asked for.
        self.tell: Tell = lambda outcome: None
        self._write, self._deadline, self._most = write, deadline, kept
        self._checker, self._evidence = ClaimChecker(catalogue), Evidence(catalogue)
        self._ids: list[str] = catalogue.items["item_id"].tolist()
        self._briefs, self._likes = item_briefs(catalogue), segment_likes(catalogue, profiles)
        #: Guards all below; told whenever any of it changes.
        self._changed = threading.Condition()
        #: By item and segment, the latest asked for last; None where the guard refused the text.
        self._kept: OrderedDict[_Pair, ShownReason | None] = OrderedDict()
        #: What waits to be written, and what is being written, in the order of asking.
        self._waiting: OrderedDict[_Pair, None] = OrderedDict()
        self._written_now: frozenset[_Pair] = frozenset()
        #: What the model broke on, until somebody has been told.
        self._broken: set[_Pair] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def beside(self, items: Sequence[int], segment: int) -> list[ShownReason]:
        """Return a reason beside each item for a segment, within the deadline."""
        ends = time.monotonic() + self._deadline
        pairs = [(item, segment) for item in items]
        with self._changed:
            outcomes: dict[_Pair, Outcome] = {}
            for pair in pairs:
                outcomes[pair] = self._asked(pair)
            missed = [pair for pair, outcome in outcomes.items() if outcome == "late"]
            self._changed.wait_for(
                lambda: all(pair in self._kept or pair in self._broken for pair in missed),
                max(ends - time.monotonic(), 0.0),
            )
            for pair in missed:
                if pair in self._kept:
                    outcomes[pair] = "miss" if self._kept[pair] is not None else "vetoed"
                elif pair in self._broken:
                    self._broken.discard(pair)
                    outcomes[pair] = "failed"
            found = {pair: self._kept.get(pair) for pair in pairs}
        for outcome in outcomes.values():
            self.tell(outcome)
        return [found[pair] or self._fallback(*pair) for pair in pairs]

    def close(self) -> None:
        """End the thread, once it has written what it is at; from then on only fallbacks come."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _asked(self, pair: _Pair) -> Outcome:
        """Look a text up, or have it written; `late` until it is there."""
        if pair in self._kept:
            self._kept.move_to_end(pair)
            return "hit" if self._kept[pair] is not None else "vetoed"
        if pair in self._waiting or pair in self._written_now:
            return "late"
        if self._closed or len(self._waiting) >= _MOST_WAITING:
            return "refused"
        self._waiting[pair] = None
        if self._thread is None:
            # Only now: a bundle whose book lacks nothing has no thread.
            self._thread = threading.Thread(target=self._work, name="reasons", daemon=True)
            self._thread.start()
        self._changed.notify_all()
        return "late"

    def _work(self) -> None:
        """Write what waits, a batch at a time, until closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                batch = [self._waiting.popitem(last=False)[0] for _ in range(self._next())]
                self._written_now = frozenset(batch)
            try:
                texts = self._write(
                    [reason_prompt(self._briefs[i], self._likes[s]) for i, s in batch]
                )
                done = {pair: self._guarded(*pair, text) for pair, text in zip(batch, texts)}
            except Exception:  # whatever a model breaks on, shelves go on with the fallback
                done = {}
            with self._changed:
                self._written_now = frozenset()
                self._kept.update(done)
                self._broken.update(set(batch) - done.keys())
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
                # Nobody may be there any more to be told.
                while len(self._broken) > _MOST_WAITING:
                    self._broken.pop()
                self._changed.notify_all()

    def _next(self) -> int:
        return min(len(self._waiting), _BATCH)

    def _guarded(self, item: int, segment: int, text: str) -> ShownReason | None:
        text = text.strip()
        if veto(text, self._checker.check(item, text)) is not None:
            return None
        return self._shown(item, segment, text, "live")

    def _fallback(self, item: int, segment: int) -> ShownReason:
        """Write by rule: the same sentence whenever it is asked for."""
        text = permitted_reason(
            self._briefs[item], self._likes[segment], np.random.default_rng((item, segment)),
            lambda text: veto(text, self._checker.check(item, text)) is None,
        )  # fmt: skip
        return self._shown(item, segment, text.strip(), "fallback")

    def _shown(self, item: int, segment: int, text: str, source: str) -> ShownReason:
        found = self._checker.check(item, text)
        return ShownReason(
            text, source, reason_id(self._ids[item], segment, text),
            tuple(claim.text for claim in found.claims if claim.supported),
            tuple(self._evidence.behind(item, text, found)),
        )  # fmt: skip
