"""What asynchronous PPO asks of the ranker: a target network, and batches in the order of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS, TargetNetworkAPI
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from torch import Tensor

from policies.ranker.learning import concatenated, own_steps
from policies.ranker.module import RankerModule
from policies.ranker.plackett_luce import top_k
from policies.ranker.scorer import SlateScorer


class AppoRankerModule(RankerModule, TargetNetworkAPI):
    """The scorer with an older copy of itself, from which APPO counts its steps.

    Luo et al. 2020 (IMPACT, eq. 4): the surrogate is clipped around the target network, because
    the policy that collected a batch is older still, and another one in each worker.
    """

    old_scorer: SlateScorer

    def make_target_networks(self) -> None:
        """Copy the scorer; RLlib's learner calls this once, and updates the copy."""
        self.old_scorer = make_target_network(self.scorer)

    def get_target_network_pairs(self) -> list[tuple[SlateScorer, SlateScorer]]:
        """Return what is copied into what."""
        return [(self.scorer, self.old_scorer)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the logits ``(B, N)`` of the older copy."""
        seen = batch[Columns.OBS]
        logits = self.old_scorer.logits(seen["context"], seen["items"], seen["mask"])
        return {TARGET_NETWORK_ACTION_DIST_INPUTS: logits}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over weights; the copy starts from them, its input standardisation too."""
        super().set_state(state)
        if hasattr(self, "old_scorer"):
            self.old_scorer.load_state_dict(self.scorer.state_dict())


class SlateSequences(ConnectorV2):
    """The learner connector of APPO: chunks end to end, each with its last observation.

    RLlib's V-trace reads flat rows in order of time, one more than steps for each chunk: the row
    of the observation after the last step, which `Columns.LOSS_MASK` rules out, is where the
    return goes on (``AddOneTsToEpisodesAndTruncate``; here whole arrays are joined instead of
    lengthening every episode in Python).
    """

    def __call__(
        self, *, rl_module: Any, batch: Any, episodes: list[SingleAgentEpisode], **kwargs: Any
    ) -> dict[str, dict[str, Any]]:
        """Return ``{module: columns}`` of tensors, one row an observation."""
        seen = concatenated([own_steps(episode.observations) for episode in episodes])
        lengths = np.array([len(episode) for episode in episodes])
        ends = np.cumsum(lengths + 1) - 1
        real = np.ones(ends[-1] + 1, dtype=bool)
        real[ends] = False
        # A slate that could be shown after the last step: its probability must be above zero.
        slots = int(rl_module[DEFAULT_MODULE_ID].unwrapped().action_space.shape[0])
        actions = top_k(seen["mask"], seen["mask"], slots)
        actions[torch.from_numpy(real)] = torch.from_numpy(
            np.concatenate([own_steps(episode.actions) for episode in episodes])
        )
        terminated = np.zeros(len(real), dtype=bool)
        terminated[ends - 1] = [episode.is_terminated for episode in episodes]
        log_probs = [own_steps(one.extra_model_outputs[Columns.ACTION_LOGP]) for one in episodes]
        columns = {
            Columns.OBS: seen,
            Columns.ACTIONS: actions,
            Columns.REWARDS: _spread([own_steps(one.rewards) for one in episodes], real),
            Columns.ACTION_LOGP: _spread(log_probs, real),
            Columns.TERMINATEDS: torch.from_numpy(terminated),
            Columns.LOSS_MASK: torch.from_numpy(real),
        }
        return {DEFAULT_MODULE_ID: columns}


def _spread(parts: list[np.ndarray], real: np.ndarray) -> Tensor:
    """Return the steps' values ``(rows,)`` float32, zero in the rows that are no step."""
    values = np.zeros(len(real), dtype=np.float32)
    values[real] = np.concatenate(parts)
    return torch.from_numpy(values)
