"""Training end to end in this process: it learns, it is repeatable, it resumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv

from envs.errors import UserError
from envs.shop import ShopVectorEnv
from envs.similarity import SCORES
from policies.ranker.config import RankerConfig, ScorerConfig
from policies.ranker.plackett_luce import top_k
from policies.ranker.scorer import SlateScorer
from policies.ranker.shelf import mean_return, read_shelf
from policies.ranker.train import RankerResult, train_ranker
from tests.ranker.ranker_toy import TASTES, ToyShop, make_shop
from tests.shop_at_hand import bare_world

# Small, and twice the entropy a large shop would need: tests only.
CONFIG = RankerConfig(
    scorer=ScorerConfig(hidden=16),
    iterations=8,
    num_envs=64,
    batch=1024,
    minibatch=256,
    eval_every=4,
    eval_sessions=128,
    checkpoint_every=2,
)


def return_of(pick: str, sessions: int = 512) -> float:
    """Return the mean return of one session an env for a policy that looks, or draws."""
    env = ToyShop(sessions, 3, candidates=10, slots=2, features=8)
    rng = np.random.default_rng(4)
    seen, _ = env.reset()
    earned, going = np.zeros(sessions), np.ones(sessions, dtype=bool)
    while going.any():
        score = rng.random((sessions, 10))
        if pick == "oracle":
            taste = seen["context"][:, :TASTES].argmax(1)
            score += seen["items"][np.arange(sessions), :, taste]
        score[seen["mask"] == 0] = -1.0
        seen, rewards, terminated, truncated, _ = env.step(np.argsort(-score, axis=1)[:, :2])
        earned += np.where(going, rewards, 0.0)
        going &= ~(terminated | truncated)
    return float(earned.mean())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RankerResult:
    return train_ranker(make_shop, CONFIG, tmp_path_factory.mktemp("ranker"), seed=1)


def test_it_learns_most_of_what_can_be_learnt(trained: RankerResult) -> None:
    random, oracle = return_of("random"), return_of("oracle")
    assert oracle > 3 * random, "the toy must leave room"
    assert trained.best_return > random + 0.7 * (oracle - random)
    start = trained.curve[0]["return_topk"]
    assert start is not None
    assert start < random + 0.3 * (oracle - random)


def test_the_curve_has_a_row_an_iteration_and_figures_that_make_sense(
    trained: RankerResult,
) -> None:
    assert [row["iteration"] for row in trained.curve] == list(range(9))
    for name in ("return_topk", "return_explored"):
        assert [row[name] is not None for row in trained.curve] == [
            i in (0, 4, 8) for i in range(9)
        ]
    for before, row in zip(trained.curve, trained.curve[1:]):
        assert row["env_steps"] is not None
        assert row["env_steps"] - (before["env_steps"] or 0) >= CONFIG.batch
        assert row["kl"] is not None
        assert 0 <= row["kl"] < 1
        # An ordered pair of ten has at most log 90 nats.
        assert row["entropy"] is not None
        assert 0 < row["entropy"] <= np.log(90) + 1e-4
        assert row["vf_loss"] is not None


class Killed(Exception):
    """Stands for kill -9."""


def test_a_killed_run_resumes_at_its_last_checkpoint(trained: RankerResult, tmp_path: Path) -> None:
    def kill_at_five(done: int, total: int, figures: Mapping[str, float]) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        train_ranker(make_shop, CONFIG, tmp_path, kill_at_five, seed=1)
    seen: list[int] = []
    resumed = train_ranker(
        make_shop, CONFIG, tmp_path, lambda done, total, figures: seen.append(done), seed=1
    )
    assert seen == [5, 6, 7, 8], "iteration 4 was the last checkpoint"
    assert [row["iteration"] for row in resumed.curve] == list(range(9))
    # Up to the checkpoint it is the uninterrupted run, bit for bit (but not its clock).
    for found, wanted in zip(resumed.curve[:5], trained.curve[:5]):
        assert {**found, "seconds": 0} == {**wanted, "seconds": 0}
    assert list((tmp_path / "tb").glob("events*"))
    # Called again when finished, it returns at once what it found.
    again = train_ranker(make_shop, CONFIG, tmp_path, seed=1)
    assert (again.curve, again.best_return) == (resumed.curve, resumed.best_return)
    for name, tensor in resumed.scorer.state_dict().items():
        torch.testing.assert_close(again.scorer.state_dict()[name], tensor, atol=0, rtol=0)


def test_training_leaves_the_callers_randomness_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    short = CONFIG.model_copy(update={"iterations": 1})
    train_ranker(make_shop, short, tmp_path, seed=2)
    torch.testing.assert_close(torch.rand(3), wanted, atol=0, rtol=0)
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_env_whose_names_do_not_fit_is_refused(tmp_path: Path) -> None:
    def make_misnamed(num_envs: int, seed: int) -> VectorEnv:
        env = ToyShop(num_envs, seed)
        env.item_feature_names = env.item_feature_names[:-1]
        return env

    with pytest.raises(UserError, match="item_feature_names: 15 names for 16 columns"):
        train_ranker(make_misnamed, CONFIG, tmp_path)


def test_both_evaluations_meet_the_same_sessions() -> None:
    env = ShopVectorEnv(bare_world(), 128, 3)
    config = ScorerConfig(baseline_features=SCORES, baseline_weight=1e8)
    scorer = SlateScorer(config, env.item_feature_names, env.context_feature_names)
    slots, drawn = env.world.config.slots, torch.Generator().manual_seed(1)
    # So greedy that a sampled slate is the most probable one, whatever is drawn.
    found = mean_return(env, scorer, slots, 7)
    assert mean_return(env, scorer, slots, 7, drawn) == found
    # Rows whose session is over are not scored any more, and nothing changes by it.
    assert play_every_row(env, scorer, 7) == pytest.approx(found)


def play_every_row(env: ShopVectorEnv, scorer: SlateScorer, seed: int) -> float:
    """Return the mean return of the first session of each env, every row scored all the time."""
    seen, _ = env.reset(seed=seed)
    earned, going = np.zeros(env.num_envs), np.ones(env.num_envs, dtype=bool)
    while going.any():
        with torch.no_grad():
            logits = scorer.logits(**{name: torch.from_numpy(a) for name, a in seen.items()})
        slates = top_k(logits, torch.from_numpy(seen["mask"]), env.world.config.slots).numpy()
        seen, rewards, terminated, truncated, _ = env.step(slates)
        earned += np.where(going, rewards, 0.0)
        going &= ~(terminated | truncated)
    return float(earned.mean())


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    short = CONFIG.model_copy(update={"iterations": 1})
    train_ranker(make_shop, short, tmp_path, seed=1)
    other = short.model_copy(update={"lr": 0.5})
    with pytest.raises(UserError, match=r"another training \(config.lr: 0.003 there, 0.5 here\)"):
        train_ranker(make_shop, other, tmp_path, seed=1)
    with pytest.raises(UserError, match=r"seed: 1 there, 2 here"):
        train_ranker(make_shop, short, tmp_path, seed=2)

    def make_other_shop(num_envs: int, seed: int) -> VectorEnv:
        return ToyShop(num_envs, seed, candidates=10, slots=3, features=8)

    with pytest.raises(UserError, match="slots: 2 there, 3 here"):
        train_ranker(make_other_shop, short, tmp_path, seed=1)
    kept = (tmp_path / "checkpoint" / "weights.safetensors").read_bytes()
    (tmp_path / "checkpoint" / "weights.safetensors").write_bytes(kept[:40])
    with pytest.raises(UserError, match="a damaged checkpoint"):
        train_ranker(make_shop, short, tmp_path, seed=1)


def test_training_that_diverges_says_so(tmp_path: Path) -> None:
    wild = CONFIG.model_copy(update={"iterations": 2, "lr": 1e30})
    with pytest.raises(UserError, match=r"diverged in iteration \d.*lower rank.lr"):
        train_ranker(make_shop, wild, tmp_path, seed=1)


def test_more_slots_than_candidates_are_refused() -> None:
    with pytest.raises(UserError, match="a slate has 5 slots, but a page only 4 candidates"):
        read_shelf(ToyShop(2, 0, candidates=4, slots=5))


@pytest.mark.parametrize("kind", ["attention", "linear"])
def test_the_other_kinds_of_scorer_train_too(kind: str, tmp_path: Path) -> None:
    scorer = ScorerConfig.model_validate({"kind": kind, "hidden": 16})
    short = CONFIG.model_copy(update={"scorer": scorer, "iterations": 4})
    found = train_ranker(make_shop, short, tmp_path, seed=1)
    start = found.curve[0]["return_topk"]
    assert start is not None
    assert found.best_return > 2 * start
    assert found.scorer.config.kind == kind


@pytest.mark.parametrize(
    "setting", [{"algorithm": "appo"}, {"num_learners": 1}, {"address": "auto"}]
)
def test_what_needs_workers_says_so(setting: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"set num_env_runners to 1\+"):
        RankerConfig.model_validate(setting)
    assert RankerConfig.model_validate({**setting, "num_env_runners": 1})
