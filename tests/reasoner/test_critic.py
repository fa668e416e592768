"""The critic: it learns what can be known, goes on where it was saved, and draws from its seed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from policies.reasoner.critic import CriticLearner


def learner(**changes: Any) -> CriticLearner:
    settings: dict[str, Any] = {
        "learning_rate": 1e-2,
        "epochs": 4,
        "minibatches": 2,
        "value_clip": 1e9,
        "seed": 0,
        "device": torch.device("cpu"),
    }
    return CriticLearner(8, **(settings | changes))


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return features ``(16, 5, 8)``, targets that are a function of them, and a mask."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(16, 5, 8, generator=generator)
    mask = (torch.arange(5) < torch.randint(1, 6, (16, 1), generator=generator)).long()
    return features, features[..., 0] - 0.5 * features[..., 1], mask


def fit(critic: CriticLearner, cycles: range) -> None:
    for cycle in cycles:
        features, targets, mask = batch(cycle)
        critic.fit(features, critic.values(features), targets, mask)


def test_it_starts_at_zero_and_explains_what_features_tell() -> None:
    critic = learner()
    features, targets, mask = batch(99)
    assert bool((critic.values(features) == 0).all())
    fit(critic, range(40))
    left = (((critic.values(features) - targets) ** 2) * mask).sum() / (targets**2 * mask).sum()
    assert float(left) < 0.1


def test_padding_teaches_nothing() -> None:
    features, targets, mask = batch(0)
    one, other = learner(), learner()
    one.fit(features, one.values(features), targets, mask)
    other.fit(features, other.values(features), targets + 100 * (1 - mask), mask)
    torch.testing.assert_close(one.values(features), other.values(features))


def test_a_value_beyond_the_clip_moves_no_further() -> None:
    # All targets are 5 and a value may move by .2: once there, its gradient is gone, and Adam
    # carries it a little further by its momentum alone.
    features, _, mask = batch(0)
    critic = learner(value_clip=0.2, epochs=200, learning_rate=1e-3)
    critic.fit(features, critic.values(features), torch.full((16, 5), 5.0), mask)
    free = learner(epochs=200, learning_rate=1e-3)
    free.fit(features, free.values(features), torch.full((16, 5), 5.0), mask)
    real = mask.bool()
    assert float(critic.values(features)[real].mean()) < 1
    assert float(free.values(features)[real].mean()) > 3


def test_it_goes_on_from_a_file_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, cut = learner(), learner()
    fit(whole, range(6))
    fit(cut, range(3))
    cut.save(tmp_path / "critic.safetensors")
    resumed = learner(seed=1)  # whatever it was made of is replaced
    resumed.load(tmp_path / "critic.safetensors")
    fit(resumed, range(3, 6))
    features, _, _ = batch(7)
    torch.testing.assert_close(resumed.values(features), whole.values(features), rtol=0, atol=0)


def test_it_can_be_saved_before_it_has_learned(tmp_path: Path) -> None:
    learner().save(tmp_path / "critic.safetensors")
    fresh = learner(seed=1)
    fresh.load(tmp_path / "critic.safetensors")
    whole = learner()
    for critic in (fresh, whole):
        fit(critic, range(2))
    features, _, _ = batch(7)
    torch.testing.assert_close(fresh.values(features), whole.values(features), rtol=0, atol=0)


def test_it_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    fit(learner(), range(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_gradients_pass_through_the_average(share: float) -> None:
    seen: list[int] = []

    def average(gradient: torch.Tensor) -> torch.Tensor:
        seen.append(gradient.numel())
        return share * gradient

    critic = learner(average=average)
    fit(critic, range(1))
    sizes = [parameter.numel() for parameter in critic.critic.parameters()]
    assert seen == sizes * 8  # four passes over two minibatches
    features, _, _ = batch(0)
    assert bool((critic.values(features) == 0).all()) == (share == 0)
