"""The warm start: known weights come back, the known best order too, and nothing else changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from envs.errors import UserError
from policies.ranker import train
from policies.ranker.config import RankerConfig, ScorerConfig, WarmStartConfig
from policies.ranker.plackett_luce import top_k
from policies.ranker.scorer import SlateScorer
from policies.ranker.shelf import read_shelf
from policies.ranker.train import train_ranker
from policies.ranker.warm_start import (
    LoggedPages,
    _returns,
    fit_log,
    log_pages,
    logging_rows,
    logging_scorer,
    set_spread,
)
from tests.ranker.ranker_toy import TASTES, make_shop, make_telling_shop

WARM = WarmStartConfig(slates=8000, epochs=6, minibatch=256, lr=1e-2)
CONFIG = RankerConfig(
    scorer=ScorerConfig(hidden=16),
    warm_start=WARM,
    iterations=3,
    num_envs=32,
    batch=256,
    minibatch=128,
    eval_every=1,
    eval_sessions=64,
    checkpoint_every=2,
)
FEATURES = ("a", "b", "c")
TRUE = torch.tensor([0.6, -0.4, 0.0])
ATTENTION = torch.tensor([0.0, -0.7])


def untrained(kind: str = "linear") -> SlateScorer:
    config = ScorerConfig.model_validate({"kind": kind, "hidden": 8})
    return SlateScorer(config, FEATURES, ("hour",), torch.Generator().manual_seed(0))


def made_log(pages: int = 20_000, candidates: int = 6, masked: float = 0.2) -> LoggedPages:
    """Return pages whose rewards are Poisson with rate exp(TRUE x + ATTENTION).

    The first feature decides who gets the first slot: an estimate that forgets attention errs.
    """
    generator = torch.Generator().manual_seed(1)
    items = torch.randn(pages, candidates, 3, generator=generator)
    mask = (torch.rand(pages, candidates, generator=generator) >= masked).float()
    mask[:, :2] = 1.0
    slates = top_k(items[..., 0], mask, 2)
    rewards = torch.poisson(rates(items, slates), generator=generator)
    seen = {"context": torch.zeros(pages, 1), "items": items, "mask": mask}
    return LoggedPages(seen, slates, rewards, rewards.sum(1))


def rates(items: Tensor, slates: Tensor) -> Tensor:
    return ((items @ TRUE).gather(1, slates) + ATTENTION).exp()


def test_known_weights_come_back() -> None:
    log, scorer = made_log(), untrained()
    settings = WarmStartConfig(epochs=20, minibatch=500, lr=0.03)
    assert fit_log(scorer, log, settings, torch.Generator().manual_seed(2))
    # The inverse Fisher information of the Poisson regression, slots as dummies.
    rate = rates(log.seen["items"], log.slates)
    x = log.seen["items"].gather(1, log.slates.unsqueeze(2).expand(-1, -1, 3))
    rows = torch.cat([x, torch.eye(2).expand(len(x), 2, 2)], dim=2).reshape(-1, 5)
    error = torch.linalg.inv(rows.T @ (rows * rate.reshape(-1, 1))).diagonal().sqrt()[:3]
    assert (error < 0.02).all(), "the band must be narrow"
    assert ((scorer.skip - TRUE).abs() < 3 * error).all()


def test_the_unit_of_reward_does_not_matter() -> None:
    log = made_log(2000)
    logits = []
    for unit in (1.0, 1000.0):
        scorer = untrained("deep_sets")
        other = replace(log, rewards=unit * log.rewards, returns=unit * log.returns)
        fit_log(scorer, other, WARM, torch.Generator().manual_seed(2))
        logits.append(scorer.logits(**log.seen).detach())
    torch.testing.assert_close(*logits, atol=1e-2, rtol=1e-3)


def test_values_foretell_returns() -> None:
    log, scorer = made_log(), untrained()
    fit_log(scorer, log, WARM, torch.Generator().manual_seed(2))
    with torch.no_grad():
        found = scorer.value(**log.seen)
    expected = rates(log.seen["items"], log.slates).sum(1)
    # What is left to explain of the returns is the coins' variance: a rate's own.
    assert (found - expected).square().mean() < 0.5 * expected.var()
    assert abs(float(found.mean() - log.returns.mean())) < 0.1 * float(log.returns.mean())


def test_spread_is_set_and_the_order_kept() -> None:
    log, scorer = made_log(), untrained("deep_sets")
    fit_log(scorer, log, WARM, torch.Generator().manual_seed(2))
    mask = log.seen["mask"]
    with torch.no_grad():
        before = top_k(scorer.logits(**log.seen), mask, 2)
        set_spread(scorer, log, 1.5)
        logits = scorer.logits(**log.seen)
    assert (top_k(logits, mask, 2) == before).float().mean() > 0.999
    spreads = [float(row[some > 0].std(correction=0)) for row, some in zip(logits, mask)][:8192]
    assert np.mean(spreads) == pytest.approx(1.5, rel=1e-3)


def test_a_log_without_a_reward_teaches_nothing() -> None:
    log, scorer = made_log(100), untrained()
    before = copy.deepcopy(scorer.state_dict())
    nothing = replace(log, rewards=torch.zeros_like(log.rewards))
    assert not fit_log(scorer, nothing, WARM, torch.Generator())
    for name, tensor in scorer.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=0, rtol=0)


def test_a_fit_that_diverges_says_so() -> None:
    wild = WarmStartConfig(lr=1e30, minibatch=50)
    with pytest.raises(UserError, match=r"warm start diverged.*lower rank.warm_start.lr.*1e\+30"):
        fit_log(untrained(), made_log(200), wild, torch.Generator())


def test_returns_by_hand() -> None:
    rewards = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    going_on = torch.tensor([[True], [False], [True], [True]])
    assert _returns(rewards, going_on, 0.5).flatten().tolist() == [2.0, 2.0, 5.0, 4.0]


def telling_log(gamma: float, seed: int = 5, pages: int = 600) -> LoggedPages:
    env = make_telling_shop(logging_rows(pages), seed)
    shelf = read_shelf(env)
    scorer = SlateScorer(ScorerConfig(), shelf.item_features, shelf.context_features)
    found = log_pages(env, scorer, 2, pages, gamma, seed)
    assert found is not None
    return found


def test_a_log_holds_pages_of_living_sessions_in_line() -> None:
    log = telling_log(gamma=0.0)
    assert [len(one) for one in (*log.seen.values(), log.slates, log.returns)] == [600] * 5
    # Without a future a page's return is what its own slots earned: a step of a session that is
    # over, which earns slots but no return, would tell.
    torch.testing.assert_close(log.returns, log.rewards.sum(1))
    shown = log.seen["mask"].gather(1, log.slates)
    assert shown.bool().all()
    taste = log.seen["context"][:, :TASTES].argmax(1)
    aspect = log.seen["items"][torch.arange(600), :, taste].gather(1, log.slates)
    assert (log.rewards[aspect == 0] == 0).all()
    assert telling_log(gamma=0.9).returns.mean() > log.returns.mean()


def test_the_seed_decides_the_log() -> None:
    first, again, other = telling_log(0.9), telling_log(0.9), telling_log(0.9, seed=6)
    assert torch.equal(first.seen["items"], again.seen["items"])
    assert torch.equal(first.slates, again.slates)
    assert torch.equal(first.returns, again.returns)
    assert not torch.equal(first.slates, other.slates)


def test_logging_shows_the_baseline_score_at_its_own_weight() -> None:
    config = ScorerConfig(baseline_features=("a", "b"), baseline_weight=6.0)
    scorer = SlateScorer(config, FEATURES, ("hour",))
    items = torch.rand(50, 4, 3)
    scorer.fit_standardiser(torch.rand(50, 1), items, torch.ones(50, 4))
    with torch.no_grad():
        logits = logging_scorer(scorer, 4.0).logits(torch.zeros(50, 1), items, torch.ones(50, 4))
    wanted = 4.0 * items[..., :2].mean(2)
    centred = [one - one.mean(1, keepdim=True) for one in (logits, wanted)]
    torch.testing.assert_close(*centred, atol=1e-4, rtol=1e-4)
    assert scorer.config.baseline_weight == 6.0


def test_the_known_best_order_is_found_before_ppo_starts(tmp_path: Path) -> None:
    longer = CONFIG.model_copy(update={"iterations": 1, "eval_sessions": 512})
    found = train_ranker(make_telling_shop, longer, tmp_path / "warm", seed=1)
    env = make_telling_shop(256, 9)
    seen, _ = env.reset()
    taste = seen["context"][:, :TASTES].argmax(1)
    fits = seen["items"][np.arange(256), :, taste] * seen["mask"]
    with torch.no_grad():
        logits = found.scorer.logits(**{name: torch.from_numpy(a) for name, a in seen.items()})
        slates = top_k(logits, torch.from_numpy(seen["mask"]), 2).numpy()
    # As many fitting items as there are, up to the two slots; nearly always.
    shown = np.take_along_axis(fits, slates, axis=1).sum(1)
    assert (shown == np.minimum(fits.sum(1), 2)).mean() > 0.9
    off = longer.model_copy(update={"warm_start": WarmStartConfig(slates=0)})
    cold = train_ranker(make_telling_shop, off, tmp_path / "cold", seed=1)
    start, unlearned = found.curve[0]["return_topk"], cold.curve[0]["return_topk"]
    assert start is not None
    assert unlearned is not None
    assert start > 3 * unlearned


def without_clock(curve: list[dict[str, float | None]]) -> list[dict[str, float | None]]:
    return [{**row, "seconds": 0} for row in curve]


def test_off_and_an_env_that_tells_nothing_are_the_same(tmp_path: Path) -> None:
    off = CONFIG.model_copy(update={"warm_start": WarmStartConfig(slates=0)})
    curves = [
        without_clock(train_ranker(make, config, tmp_path / str(number), seed=1).curve)
        for number, (make, config) in enumerate(
            [(make_shop, CONFIG), (make_shop, off), (make_telling_shop, off)]
        )
    ]
    assert curves[0] == curves[1] == curves[2]


class Killed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize(("killed_at", "same_rows"), [(0, 4), (2, 3)])
def test_a_killed_run_does_not_log_again(
    killed_at: int, same_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_ranker(make_telling_shop, CONFIG, tmp_path / "whole", seed=1)

    def kill(done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == killed_at:
            raise Killed

    with pytest.raises(Killed):
        train_ranker(make_telling_shop, CONFIG, tmp_path / "killed", kill, seed=1)
    # Its checkpoint knows what the log told.
    monkeypatch.setattr(train, "log_pages", None)
    resumed = train_ranker(make_telling_shop, CONFIG, tmp_path / "killed", seed=1)
    # A resumed run meets new shoppers; from iteration 0 on, they are the same ones.
    assert without_clock(resumed.curve)[:same_rows] == without_clock(whole.curve)[:same_rows]
    assert len(resumed.curve) == 4
