"""A first ranker learned from logged slates, so that PPO need not find out what sells by itself.

A slot of a logged page earned r: its click, and what its purchase was worth. With z the logit of
the item shown there and b_j the log of how much slot j is looked at, its expected reward is

    E[r] = exp(z + b_j),

a Poisson regression: minimise exp(z + b_j) - r (z + b_j) over all shown slots. The estimate needs
a right mean only, not counts (Gourieroux, Monfort, Trognon 1984, "Pseudo maximum likelihood
methods"), so rewards may be any numbers from zero up. That attention and attraction multiply is the
position-based click model (Richardson et al. 2007), of which the other click models are near enough
for an order. Items with a higher logit earn more, whatever their slot: their order is a ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from envs.errors import UserError
from policies.ranker.config import WarmStartConfig
from policies.ranker.plackett_luce import MASKED, sample_slates
from policies.ranker.scorer import SlateScorer

#: What an env's ``info`` must tell for a log to be learned from: the reward of each slot, (B, k).
SLOT_REWARD = "slot_reward"

# Rows of the logging env, and the pages that each shows at least: sessions must get old, too.
_ROWS, _PAGES = 2048, 64
# What a slot that never earned is taken to earn, as a share of the mean: its log must be finite.
_RAREST = 1e-3
_SEEN = ("context", "items", "mask")
# The prices that are tried, in spreads of the logits: for each better candidate of a class on the
# page, and for a class that filled the pages before.
_REPEATS, _EXPOSURE = range(2)
_PRICES = ((0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5), (0.0, 0.5, 1.0, 2.0, 3.0))
# Pages on which the spread of the logits is measured.
_MEASURED = 8192


@dataclass(frozen=True)
class LoggedPages:
    """M pages as they were shown."""

    #: ``context (M, C)``, ``items (M, N, F)``, ``mask (M, N)``, float32.
    seen: dict[str, Tensor]
    #: Candidates by slot, (M, k) int64.
    slates: Tensor
    #: What each slot earned, (M, k) float32.
    rewards: Tensor
    #: Discounted return from this page on, (M,) float32; where the log ended first, up to there.
    returns: Tensor


def logging_scorer(scorer: SlateScorer, weight: float) -> SlateScorer:
    """Return the baseline score of an untrained scorer at another logit ``weight``."""
    config = scorer.config.model_copy(update={"baseline_weight": weight})
    other = SlateScorer(config, scorer.item_features, scorer.context_features)
    other.load_state_dict(scorer.state_dict())
    other.start_from_baseline()
    return other


@torch.no_grad()
def log_pages(
    env: VectorEnv, scorer: SlateScorer, slots: int, pages: int, gamma: float, seed: int
) -> LoggedPages | None:
    """Show ``pages`` slates sampled from the scorer; None where the env tells no slot's reward.

    Args:
        env: see `logging_rows` for how many rows it should have.
        scorer: its logits are those of the Plackett-Luce slates.
        slots: of a slate.
        pages: how many are kept; steps in which a session only starts anew do not count.
        gamma: discount of the returns.
        seed: of the sessions, and of the slates that are drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    seen, _ = env.reset(seed=seed)
    resting, count = np.zeros(env.num_envs, dtype=bool), 0
    shown, earned, going_on, live = [], [], [], []
    while count < pages:
        page = {name: torch.from_numpy(np.array(seen[name])) for name in _SEEN}
        slates = sample_slates(scorer.logits(**page), page["mask"], slots, generator)
        seen, reward, terminated, truncated, info = env.step(slates.numpy())
        if SLOT_REWARD not in info:
            return None
        slot_reward = torch.from_numpy(np.array(info[SLOT_REWARD], dtype=np.float32))
        live.append(torch.from_numpy(~resting))
        shown.append([one[live[-1]] for one in (*page.values(), slates, slot_reward)])
        resting = terminated | truncated
        earned.append(torch.from_numpy(np.array(reward, dtype=np.float32)))
        going_on.append(torch.from_numpy(~resting))
        count += int(live[-1].sum())
    returns = _returns(torch.stack(earned), torch.stack(going_on), gamma)[torch.stack(live)]
    *columns, slates, rewards = (torch.cat(parts)[:pages] for parts in zip(*shown))
    return LoggedPages(dict(zip(_SEEN, columns)), slates, rewards, returns[:pages])


def _returns(rewards: Tensor, going_on: Tensor, gamma: float) -> Tensor:
    """Return ``G_t = r_t + gamma G_t+1`` within each session, (T, B); ``going_on`` (T, B) bool."""
    returns, later = torch.empty_like(rewards), torch.zeros_like(rewards[0])
    for step in reversed(range(len(rewards))):
        later = rewards[step] + gamma * torch.where(going_on[step], later, 0.0)
        returns[step] = later
    return returns


def logging_rows(pages: int) -> int:
    """Return how many sessions to log side by side."""
    return min(_ROWS, max(1, pages // _PAGES))


def fit_log(
    scorer: SlateScorer, log: LoggedPages, config: WarmStartConfig, generator: torch.Generator
) -> bool:
    """Fit logits to the rewards and values to the returns, in place; say whether any were earned.

    Adam's step size falls linearly to zero. A log in which nothing was earned leaves the scorer
    as it is. Raises `UserError` where the fit diverges.
    """
    mean = log.rewards.mean()
    if not mean > 0:
        return False
    # In units of the mean reward, so that no unit of money makes the fit slower.
    rewards, unit = log.rewards / mean, log.returns.var(correction=0).clamp(min=1e-12)
    with torch.no_grad():
        # What the baseline score adds is a guess in other units than these.
        scorer.skip.zero_()
        scorer.value_out.bias.fill_(float(log.returns.mean()))
    attention = torch.nn.Parameter(rewards.mean(0).clamp(min=_RAREST).log())
    # What a slot earns does not depend on the crowd around it: see `search_prices`.
    learned = [one for name, one in scorer.named_parameters() if not name.startswith("prices.")]
    optimiser = torch.optim.Adam([*learned, attention], lr=config.lr)
    pages, size = len(rewards), min(config.minibatch, len(rewards))
    total = config.epochs * (pages // size)
    for step, rows in enumerate(_minibatches(pages, size, config.epochs, generator)):
        optimiser.param_groups[0]["lr"] = config.lr * (1 - step / total)
        logits, values = scorer(**{name: array[rows] for name, array in log.seen.items()})
        z = logits.gather(1, log.slates[rows])
        # Where fewer candidates than slots were left, a slot holds a masked one: nobody saw it.
        real, z = z > MASKED / 2, z.clamp(min=MASKED / 2) + attention
        poisson = torch.where(real, z.exp() - rewards[rows] * z, 0.0).mean()
        # Logits and values share no weight: one loss serves both as two would.
        loss = poisson + (values - log.returns[rows]).square().mean() / unit
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if not all(torch.isfinite(one).all() for one in scorer.parameters()):
        raise UserError(
            f"the ranker's warm start diverged: its weights are no finite numbers any more; lower"
            f" rank.warm_start.lr, which is {config.lr:g}, and start over (--fresh)."
        )
    return True


def _minibatches(
    pages: int, size: int, epochs: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield the rows of each gradient step; what is left of a pass is left out of it."""
    for _ in range(epochs):
        order = torch.randperm(pages, generator=generator)
        yield from order[: pages // size * size].split(size)


@torch.no_grad()
def mean_spread(scorer: SlateScorer, log: LoggedPages) -> float:
    """Return the standard deviation of the logits on a page of the log, on average."""
    seen = {name: array[:_MEASURED] for name, array in log.seen.items()}
    logits, mask = scorer.logits(**seen), seen["mask"] > 0
    count = mask.sum(1).clamp(min=1)
    mean = torch.where(mask, logits, 0.0).sum(1) / count
    off = torch.where(mask, logits - mean.unsqueeze(1), 0.0)
    return float((off.square().sum(1) / count).sqrt().mean())


@torch.no_grad()
def set_spread(scorer: SlateScorer, log: LoggedPages, spread: float) -> None:
    """Scale the logits so that they spread by ``spread`` on a page of the log, on average.

    A log of rewards is a flat score: slates sampled from it hardly differ from random ones, and
    PPO betters the slates that are sampled. The order stays.
    """
    scale = spread / max(mean_spread(scorer, log), 1e-6)
    last = scorer.weight_out if scorer.config.kind == "linear" else scorer.score_out
    last.weight.mul_(scale)
    scorer.skip.mul_(scale)


@torch.no_grad()
def search_prices(scorer: SlateScorer, spread: float, worth: Callable[[], float]) -> None:
    """Set the prices of a crowd to those of the best return, in place.

    What a page costs the pages after it takes long to show, and chance hides it: of all that a
    ranker has to learn, this is hardest for a policy gradient. But it is two numbers, and returns
    on the same sessions tell settings apart well. So one is tried after the other, in units of the
    logits' ``spread``; PPO goes on from there, and makes them depend on the context.

    Args:
        scorer: with a crowd; fitted, of known spread.
        spread: of the logits on a page.
        worth: the mean return of the scorer as it is, always on the same sessions.
    """
    scorer.prices.weight.zero_()
    prices = scorer.prices.bias
    prices.zero_()
    best = worth()
    for place in (_REPEATS, _EXPOSURE, _REPEATS):
        start = float(prices[place])
        found = start
        for price in (spread * tried for tried in _PRICES[place]):
            prices[place] = price
            value = best if price == start else worth()
            if value > best:
                best, found = value, price
        prices[place] = found
