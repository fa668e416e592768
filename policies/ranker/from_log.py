"""What a feedback log teaches a bundle's ranker: each logged page as it was, and what it earned.

The pages are rebuilt by the bundle (`policies.bundle_logged`): scene, query or item, the visit so
far, and the candidates of the log. A page that cannot be rebuilt is left out and counted under its
reason; what it earned still counts in the returns of the pages before it.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from envs.errors import UserError
from envs.feedback import slate_order
from envs.progress import Progress, silent
from policies.bundle_answer import Bundle
from policies.bundle_logged import (
    CannotRebuildError,
    LogColumns,
    LoggedPage,
    cached_visits,
    logged_page,
    side_by_side,
)
from policies.ranker.config import WarmStartConfig
from policies.ranker.scorer import SlateScorer
from policies.ranker.warm_start import LoggedPages, fit_log, mean_spread, set_spread

#: Discount of a reward one page later, as `policies.ranker.config.RankerConfig` has it.
GAMMA = 0.95

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Rebuilt:
    """The pages of a log that a bundle can be asked for again."""

    pages: list[LoggedPage]
    #: Discounted return from each of them on within its session, (M,).
    returns: F32
    #: Pages that are left out, by reason.
    dropped: dict[str, int]

    def part(self, chosen: I64) -> Rebuilt:
        """Return some of the pages, by place."""
        pages = [self.pages[place] for place in chosen.tolist()]
        return Rebuilt(pages, self.returns[chosen], self.dropped)

    @property
    def rows(self) -> I64:
        """The log's rows of all pages."""
        return np.concatenate([one.rows for one in self.pages])

    def laid_out(self, reward: F32) -> LoggedPages:
        """Return the pages side by side as `fit_log` takes them; ``reward`` (R,) is the log's.

        Pages may differ in length: what one lacks is a masked candidate, which nobody saw.
        """
        slots = max(len(one.slate) for one in self.pages)
        # One more column than any page has, so that a short slate has something to hold.
        width = max(len(one.items) for one in self.pages) + 1
        slates = np.full((len(self.pages), slots), width - 1, dtype=np.int64)
        rewards = np.zeros((len(self.pages), slots), dtype=np.float32)
        for row, one in enumerate(self.pages):
            slates[row, : len(one.slate)] = one.slate
            rewards[row, : len(one.slate)] = reward[one.rows]
        seen = side_by_side(self.pages, width)
        return LoggedPages(
            {name: torch.from_numpy(part) for name, part in seen.items()},
            torch.from_numpy(slates), torch.from_numpy(rewards), torch.from_numpy(self.returns),
        )  # fmt: skip


def rebuild(
    frame: pd.DataFrame, bundle: Bundle, *, gamma: float = GAMMA, progress: Progress = silent
) -> Rebuilt:
    """Rebuild the pages of a log.

    Args:
        frame: a feedback log with ``candidates``; ``session_id`` and ``step`` say what came after
            what, ``shopper_id`` who it was (nobody, or one that the bundle does not know, is the
            average shopper).
        bundle: who is asked what it knew of each page.
        gamma: discount of the returns.
        progress: called with slates done and slates in all.

    Raises:
        UserError: the log has no candidates, or no page can be rebuilt.
    """
    log = LogColumns.of(frame, "learning from a log")
    order, starts = slate_order(frame)
    slates = np.split(order, starts[1:])
    visit, dropped = cached_visits(bundle), Counter[str]()
    pages: list[LoggedPage] = []
    kept: list[int] = []
    why = ""
    for number, rows in enumerate(slates):
        try:
            pages.append(logged_page(log, rows, bundle, visit))
            kept.append(number)
        except CannotRebuildError as error:
            dropped[error.kind] += 1
            why = str(error)
        if number % 1_000 == 0 or number + 1 == len(slates):
            progress(number + 1, len(slates), {"dropped": dropped.total()})
    if not pages:
        raise UserError(f"no page of the log can be rebuilt; the last one: {why}")
    return Rebuilt(pages, _returns(frame, order, starts, gamma)[kept], dict(dropped))


def _returns(frame: pd.DataFrame, order: I64, starts: I64, gamma: float) -> F32:
    """Discounted reward of each slate and those after it in its session, (S,)."""
    earned = np.add.reduceat(frame["reward"].to_numpy(dtype=np.float64)[order], starts)
    first = order[starts]
    session = pd.factorize(frame["session_id"].to_numpy()[first])[0]
    step = frame["step"].to_numpy()[first] if "step" in frame else np.zeros(len(first))
    total = np.zeros(len(earned), dtype=np.float32)
    after, ahead = -1, 0.0
    for slate in np.lexsort((step, session))[::-1].tolist():
        ahead = earned[slate] + (gamma * ahead if session[slate] == after else 0.0)
        total[slate], after = ahead, session[slate]
    return total


def learn(
    scorer: SlateScorer, pages: LoggedPages, config: WarmStartConfig, seed: int
) -> SlateScorer:
    """Return a scorer that was fitted to a log, starting from ``scorer``, which stays as it is.

    Its logits are expected rewards (`policies.ranker.warm_start`), brought back to the spread that
    those of ``scorer`` have on the same pages: a temperature of exploration means what it did. What
    a crowd costs is not read off what single slots earned: the prices stay those of ``scorer``.

    Raises:
        UserError: nothing was earned in the log, or the fit diverged.
    """
    new = copy.deepcopy(scorer)
    prices = _take_prices(new)
    spread = mean_spread(new, pages)
    if not fit_log(new, pages, config, torch.Generator().manual_seed(seed)):
        raise UserError("the log holds no click and no purchase; there is nothing to learn from")
    set_spread(new, pages, spread)
    new.load_state_dict(prices, strict=False)
    return new.eval()


@torch.no_grad()
def _take_prices(scorer: SlateScorer) -> dict[str, torch.Tensor]:
    """Set the prices of a crowd to zero, in place; return what they were, by name of the weight."""
    taken = {}
    for name, weight in scorer.named_parameters():
        if name.startswith("prices."):
            taken[name] = weight.clone()
            weight.zero_()
    return taken
