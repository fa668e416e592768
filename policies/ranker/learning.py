"""From episode chunks to a train batch: generalised advantages, without padding steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from ray.rllib.evaluation.postprocessing import Postprocessing

from policies.ranker.distribution import slates_of


def generalised_advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    last: np.ndarray,
    gamma: float,
    lam: float,
) -> np.ndarray:
    """Return GAE advantages ``(T,)`` float32 (Schulman et al. 2016, eq. 16).

    All are ``(T,)``, chunks end to end: ``next_values`` is the value of the observation after
    each step, zero where the session was terminated; ``last`` marks each chunk's last step.

        delta_t = r_t + gamma V(s_t+1) - V(s_t);   A_t = delta_t + gamma lambda A_t+1
    """
    deltas = rewards + gamma * next_values - values
    carries = np.where(last, 0.0, gamma * lam)
    advantages = np.empty(len(deltas), dtype=np.float32)
    advantage = 0.0
    steps = zip(deltas[::-1].tolist(), carries[::-1].tolist())
    for back, (delta, carry) in enumerate(steps, start=1):
        advantage = delta + carry * advantage
        advantages[-back] = advantage
    return advantages


# Rows of a batch on which an update is measured.
_WATCHED = 1024


class SlateBatch(ConnectorV2):
    """The learner connector of the ranker: concatenate, evaluate once, add advantages.

    It stands in for RLlib's default pipeline, which lengthens each chunk by a masked copy of
    its last step. With sessions of four slates that is a quarter more gradient steps for
    nothing. The batch it returns is what `PPOTorchLearner`'s loss reads.
    """

    def __init__(self, *args: Any, gamma: float, lam: float) -> None:
        """Keep the discount and lambda of the advantages."""
        super().__init__(*args)
        self.gamma, self.lam = gamma, lam
        #: Observations and logits of the last batch's first rows, to measure an update by.
        self.watched: dict[str, Any] = {}

    def __call__(
        self, *, rl_module: Any, batch: Any, episodes: list[SingleAgentEpisode], **kwargs: Any
    ) -> dict[str, dict[str, Any]]:
        """Return ``{module: columns}`` of tensors, one row a step."""
        seen = concatenated([own_steps(episode.observations) for episode in episodes])
        lengths = np.array([len(episode) for episode in episodes])
        last_step = np.cumsum(lengths) - 1
        # Each chunk has one observation more than steps.
        before = np.arange(lengths.sum()) + np.repeat(np.arange(len(episodes)), lengths)
        # Several learners wrap it, to average their gradients.
        module = rl_module[DEFAULT_MODULE_ID].unwrapped()
        with torch.no_grad():
            all_values = module.compute_values({Columns.OBS: seen}).numpy()
        values, next_values = all_values[before], all_values[before + 1].copy()
        terminated = np.array([episode.is_terminated for episode in episodes])
        next_values[last_step[terminated]] = 0.0
        last = np.zeros(len(before), dtype=bool)
        last[last_step] = True
        rewards = np.concatenate([own_steps(episode.rewards) for episode in episodes])
        advantages = generalised_advantages(
            rewards, values, next_values, last, self.gamma, self.lam
        )
        columns = {
            name: torch.from_numpy(
                np.concatenate(
                    [own_steps(episode.extra_model_outputs[name]) for episode in episodes]
                )
            )
            for name in (Columns.ACTION_LOGP, Columns.ACTION_DIST_INPUTS)
        }
        actions = np.concatenate([own_steps(episode.actions) for episode in episodes])
        columns |= {
            Columns.OBS: {name: tensor[before] for name, tensor in seen.items()},
            Columns.ACTIONS: torch.from_numpy(actions),
            Postprocessing.VALUE_TARGETS: torch.from_numpy(advantages + values),
            Postprocessing.ADVANTAGES: torch.from_numpy(_standardised(advantages)),
        }
        self.watched = {
            Columns.OBS: {name: tensor[before[:_WATCHED]] for name, tensor in seen.items()},
            Columns.ACTION_DIST_INPUTS: columns[Columns.ACTION_DIST_INPUTS][:_WATCHED].clone(),
        }
        return {DEFAULT_MODULE_ID: columns}


class RankerLearner(PPOTorchLearner):
    """RLlib's PPO learner, with entropy and divergence measured once an update.

    In the loss they would be estimated at every gradient step: a fifth of the training time.
    """

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Log the new policy's entropy and its KL from the old one, on slates of the batch."""
        super().after_gradient_based_update(timesteps=timesteps)
        batch = self._learner_connector.connectors[0].watched
        module = self.module[DEFAULT_MODULE_ID].unwrapped()
        slates = slates_of(module.slots)
        old = slates(batch[Columns.ACTION_DIST_INPUTS])
        with torch.no_grad():
            new = slates(module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS])
            figures = {"slate_entropy": new.entropy().mean(), "slate_kl": old.kl(new).mean()}
        self.metrics.log_dict(figures, key=DEFAULT_MODULE_ID, window=1)


def _standardised(advantages: np.ndarray) -> np.ndarray:
    return (advantages - advantages.mean()) / max(1e-4, float(advantages.std()))


def own_steps(buffer: InfiniteLookbackBuffer) -> Any:
    """Return a chunk's data without what it remembers of the chunk before it."""
    if isinstance(buffer.data, dict):
        return {name: array[buffer.lookback :] for name, array in buffer.data.items()}
    return buffer.data[buffer.lookback :]


def concatenated(parts: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Return named arrays of all parts end to end."""
    return {
        name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]
    }
