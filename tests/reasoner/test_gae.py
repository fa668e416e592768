"""Policy-gradient mathematics: worked by hand, and the laws that special cases obey."""

import pytest
import torch

from policies.reasoner.gae import (
    clipped_value_loss,
    gae,
    leave_one_out,
    token_rewards,
    whiten,
)


def test_gae_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 2.0], [3.0, 7.0, 7.0]])
    values = torch.tensor([[0.5, 1.0, 1.5], [2.0, 9.0, 9.0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    advantages, targets = gae(rewards, values, mask, gamma=0.5, lam=0.5)
    # Deltas of row 0: 1 + .5*1 - .5 = 1;  0 + .5*1.5 - 1 = -.25;  2 - 1.5 = .5.
    # Backwards with gamma*lam = .25: .5;  -.25 + .125 = -.125;  1 - .03125 = .96875.
    expected = torch.tensor([[0.96875, -0.125, 0.5], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(targets, torch.tensor([[1.46875, 0.875, 2.0], [3.0, 0.0, 0.0]]))


def test_lambda_one_is_the_monte_carlo_return() -> None:
    torch.manual_seed(0)
    rewards, values = torch.randn(5, 7), torch.randn(5, 7)
    mask = (torch.arange(7) < torch.tensor([7, 1, 3, 5, 2])[:, None]).float()
    _, targets = gae(rewards * mask, values, mask, gamma=0.9, lam=1.0)
    for row in range(5):
        for start in range(int(mask[row].sum())):
            later = range(start, int(mask[row].sum()))
            monte_carlo = sum(0.9 ** (t - start) * float(rewards[row, t]) for t in later)
            assert float(targets[row, start]) == pytest.approx(monte_carlo, abs=1e-5)


def test_zero_critic_and_one_token_is_reinforce_with_baseline() -> None:
    rewards = torch.tensor([1.0, 3.0, 2.0, 2.0])
    terminal = leave_one_out(rewards, group=2)
    torch.testing.assert_close(terminal, torch.tensor([-2.0, 2.0, 0.0, 0.0]))
    mask = torch.ones(4, 1)
    shaped = token_rewards(terminal, torch.zeros(4, 1), mask, coefficient=0.1)
    advantages, _ = gae(shaped, torch.zeros(4, 1), mask, gamma=1.0, lam=0.95)
    torch.testing.assert_close(advantages[:, 0], terminal)


def test_leave_one_out_ignores_what_a_group_shares() -> None:
    rewards = torch.tensor([0.2, 0.9, -0.4, 1.0, 5.0, 3.0])
    centred = rewards - rewards.view(2, 3).mean(1).repeat_interleave(3)
    torch.testing.assert_close(leave_one_out(rewards, 3), leave_one_out(centred, 3))


def test_clipped_value_loss_by_hand() -> None:
    old, targets = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 9.0]])
    values, mask = torch.tensor([[0.5, 0.1, 4.0]]), torch.tensor([[1, 1, 0]])
    # 0.5 is held at 0.2: max(.25, .64) = .64.  0.1 is within reach: .81.  The third is padding.
    loss = clipped_value_loss(values, old, targets, mask, clip=0.2)
    assert float(loss) == pytest.approx(0.5 * (0.64 + 0.81) / 2)


def test_clipped_value_loss_without_reach_is_the_squared_error() -> None:
    torch.manual_seed(1)
    values, old, targets = torch.randn(3, 4, 5)
    loss = clipped_value_loss(values, old, targets, torch.ones(4, 5), clip=1e9)
    torch.testing.assert_close(loss, 0.5 * ((values - targets) ** 2).mean())


def test_whitening_sees_only_the_mask() -> None:
    x = torch.tensor([[1.0, 3.0, 1e6]])
    torch.testing.assert_close(
        whiten(x, torch.tensor([[1, 1, 0]])), torch.tensor([[-1.0, 1.0, 0.0]])
    )


def test_terminal_reward_lies_on_the_last_real_token() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    kl = torch.tensor([[0.5, 1.0, 9.0], [0.0, 0.0, 2.0]])
    shaped = token_rewards(torch.tensor([10.0, 20.0]), kl, mask, coefficient=0.1)
    torch.testing.assert_close(shaped, torch.tensor([[-0.05, 9.9, 0.0], [0.0, 0.0, 19.8]]))
