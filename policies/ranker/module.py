"""RLlib's view of the scorer: an RLModule with a value function."""

from __future__ import annotations

from typing import Any

from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from policies.ranker.distribution import slates_of
from policies.ranker.scorer import ScorerConfig, SlateScorer


class RankerModule(TorchRLModule, ValueFunctionAPI):
    """The scorer as policy and critic.

    ``model_config`` holds what the scorer is built from: ``scorer`` (a dumped `ScorerConfig`),
    ``item_features``, ``context_features``, and ``entropy_bonus`` (whether the loss needs the
    entropy). Its weights, and the standardisation among them,
    arrive through ``set_state`` like any other weights.
    """

    scorer: SlateScorer

    def setup(self) -> None:
        """Build the scorer; the slots are the length of the action space."""
        self.scorer = SlateScorer(
            ScorerConfig.model_validate(self.model_config["scorer"]),
            self.model_config["item_features"],
            self.model_config["context_features"],
        )
        # MultiDiscrete has no default distribution in RLlib.
        self.slots = int(self.action_space.shape[0])
        self.action_dist_cls = slates_of(self.slots, self.model_config["entropy_bonus"])

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        seen = batch[Columns.OBS]
        logits = self.scorer.logits(seen["context"], seen["items"], seen["mask"])
        return {Columns.ACTION_DIST_INPUTS: logits}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Tensor]:
        seen = batch[Columns.OBS]
        logits, values = self.scorer(seen["context"], seen["items"], seen["mask"])
        # The loss hands "embeddings" to compute_values: they are the values already.
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.EMBEDDINGS: values}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the expected return ``(B,)`` of each observation."""
        if embeddings is not None:
            return embeddings
        seen = batch[Columns.OBS]
        return self.scorer.value(seen["context"], seen["items"], seen["mask"])
