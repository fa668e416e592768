"""The ranker's settings as RLlib's: one env, module and runner under either algorithm."""

from __future__ import annotations

import math
from typing import Any

from ray.rllib.algorithms import AlgorithmConfig
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.rl_module import RLModuleSpec

from policies.ranker.appo import AppoRankerModule, SlateSequences
from policies.ranker.config import RankerConfig
from policies.ranker.learning import RankerLearner, SlateBatch
from policies.ranker.module import RankerModule
from policies.ranker.runner import FastRunner, VectorRunner
from policies.ranker.shelf import MakeEnv, Shelf

ENV_NAME = "shelftalk-ranker"

#: What RLlib calls the figures that the learning curve keeps, and what we call them. APPO
#: measures the entropy in its loss, and no divergence: batches come from many older policies.
FIGURES = {
    "ppo": {"slate_entropy": "entropy", "slate_kl": "kl", "vf_loss": "vf_loss"},
    "appo": {"entropy": "entropy", "vf_loss": "vf_loss"},
}


def rllib_config(
    make_env: MakeEnv, shelf: Shelf, config: RankerConfig, seed: int
) -> AlgorithmConfig:
    """Return RLlib's configuration of ``config.algorithm``."""
    algorithm = _appo(config) if config.algorithm == "appo" else _ppo(config)
    modules = {"ppo": RankerModule, "appo": AppoRankerModule}
    spec = RLModuleSpec(
        module_class=modules[config.algorithm],
        model_config={
            "scorer": config.scorer.model_dump(mode="json"),
            "item_features": list(shelf.item_features),
            "context_features": list(shelf.context_features),
            "entropy_bonus": config.entropy_coeff > 0 or config.algorithm == "appo",
        },
    )
    return (
        algorithm.environment(
            env=ENV_NAME,
            env_config={"make_env": make_env, "seed": seed},
            observation_space=shelf.observation_space,
            action_space=shelf.action_space,
            normalize_actions=False,
            clip_actions=False,
        )
        .env_runners(
            env_runner_cls=FastRunner if config.fast_runner else VectorRunner,
            num_env_runners=config.num_env_runners,
            num_envs_per_env_runner=config.num_envs,
        )
        .rl_module(rl_module_spec=spec)
        .debugging(seed=seed, log_level="ERROR")
    )


def _ppo(config: RankerConfig) -> PPOConfig:
    runners, learners = max(1, config.num_env_runners), max(1, config.num_learners)
    share = math.ceil(config.batch / learners)
    return (
        PPOConfig()
        .env_runners(rollout_fragment_length=math.ceil(config.batch / (config.num_envs * runners)))
        .learners(
            num_learners=config.num_learners,
            learner_class=RankerLearner,
            add_default_connectors_to_learner_pipeline=False,
            learner_connector=_Connector(SlateBatch, gamma=config.gamma, lam=config.lam),
        )
        .training(
            lr=config.lr,
            gamma=config.gamma,
            lambda_=config.lam,
            clip_param=config.clip,
            train_batch_size_per_learner=share,
            minibatch_size=min(max(1, config.minibatch // learners), share),
            num_epochs=config.epochs,
            entropy_coeff=config.entropy_coeff,
            # Returns have any scale, and a clipped loss has no gradient.
            vf_clip_param=float("inf"),
            use_kl_loss=False,
        )
    )


def _appo(config: RankerConfig) -> APPOConfig:
    """Return APPO: every ``minibatch`` slates are a batch, used ``epochs`` times as they come."""
    return (
        APPOConfig()
        .env_runners(rollout_fragment_length=math.ceil(config.minibatch / config.num_envs))
        .learners(
            num_learners=config.num_learners,
            add_default_connectors_to_learner_pipeline=False,
            learner_connector=_Connector(SlateSequences),
        )
        .training(
            lr=config.lr,
            gamma=config.gamma,
            clip_param=config.clip,
            train_batch_size_per_learner=config.minibatch,
            circular_buffer_num_batches=4,
            circular_buffer_iterations_per_batch=config.epochs,
            entropy_coeff=config.entropy_coeff,
            use_kl_loss=False,
        )
        # An iteration is a number of slates, not ten seconds.
        .reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=config.batch)
    )


class _Connector:
    """Builds the learner connector; a class, because RLlib copies it to other processes."""

    def __init__(self, kind: type[ConnectorV2], **settings: Any) -> None:
        self.kind, self.settings = kind, settings

    def __call__(self, *spaces: Any) -> ConnectorV2:
        return self.kind(**self.settings)
