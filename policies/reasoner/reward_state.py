"""A reward that learns beside the policy goes on, after a kill, from where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

REWARD_FILE = "reward.npz"


class KeepsReward:
    """Put before a TRL trainer: its checkpoints carry the state of ``learned_reward``."""

    #: A reward with ``state()`` and ``load(state)``; None where the reward learns nothing.
    learned_reward: Any = None
    args: Any

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Save the reward beside the optimiser, before the file that marks a whole checkpoint."""
        super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
        if self.learned_reward is not None and self.args.should_save:
            np.savez(Path(output_dir) / REWARD_FILE, **self.learned_reward.state())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load the reward too, when a killed run goes on."""
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if self.learned_reward is not None and checkpoint is not None:
            with np.load(Path(checkpoint) / REWARD_FILE, allow_pickle=False) as saved:
                self.learned_reward.load({name: saved[name] for name in saved.files})
