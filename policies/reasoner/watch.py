"""What looks after a training while it runs: time, held-out prompts, alarms, the best adapter."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from envs.errors import UserError
from envs.progress import Progress
from policies.reasoner.alarms import constant_for, new_alarms
from policies.reasoner.config import PpoConfig
from policies.reasoner.curve import curve_rows
from policies.reasoner.held_out import BestAdapter, Measure
from sft.ranks import from_main, main_process

Row = dict[str, float]


class Watch(TrainerCallback):
    """Reports each cycle, measures on held-out prompts, and ends a training that is to end.

    All it knows is in the trainer's log, which a checkpoint carries, so that a resumed training
    counts its seconds, and raises its alarms, as if it had never been killed.
    """

    def __init__(
        self,
        config: PpoConfig,
        progress: Progress,
        measure: Measure | None = None,
        best: BestAdapter | None = None,
    ) -> None:
        """Watch for ``config``; ``measure`` is there where there are held-out prompts."""
        self.config, self.progress = config, progress
        self._measure, self._best = measure, best
        #: The trainer that is watched; a callback is built before it.
        self.trainer: Any = None

    def rows(self, state: Any) -> list[Row]:
        """Return the curve so far, row 0 (before training) included."""
        return curve_rows(state.log_history, self.config.updates)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the policy that training starts from, unless a killed run did."""
        if state.global_step == 0 and self._measure is not None:
            if self._best is not None and main_process():
                self._best.forget()
            self.trainer.log(self._measured(0, []))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure where it is due, before the cycle's log line is written, so that it is in it."""
        cycle, rest = divmod(state.global_step, self.config.updates)
        if self._measure is not None and rest == 0 and cycle % self.config.eval_every == 0:
            for name, value in self._measured(cycle, self.rows(state)).items():
                self.trainer._metrics["train"][name].append(value)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the last policy, if its cycle was not."""
        rows = self.rows(state)
        if self._measure is not None and rows and "held_reward" not in rows[-1]:
            self.trainer.log(self._measured(round(rows[-1]["cycle"]), rows))

    def _measured(self, cycle: int, rows: list[Row]) -> Row:
        """Return the held-out figures of the policy as it is; the main process finds them."""
        found: Row = {}
        if main_process():
            assert self._measure is not None
            found = self._measure(self.trainer.model)
            if self._best is not None:
                first = rows[0] if rows else found
                self._best.offer(self.trainer.model, {"cycle": float(cycle), **found}, first)
        return from_main(found)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Report one cycle; stop when the time is spent or an alarm says so."""
        if "reward" not in logs:
            return
        rows = [row for row in self.rows(state) if row["cycle"] >= 1]
        self._refuse_constant(rows)
        spent = sum(row["seconds"] for row in rows)
        names = ("reward", "held_reward", "kl", "entropy", "vetoed")
        shown = {name: rows[-1][name] for name in names if name in rows[-1]}
        if self.config.cycles is not None:
            done, total, over = len(rows), self.config.cycles, False
        else:
            total = round(self.config.seconds or 0)
            done, over = min(round(spent), total), spent >= (self.config.seconds or 0)
        if main_process():
            self.progress(done, total, shown)
        stopped = any(one.action == "stop" for one in new_alarms(rows, self.config.alarms))
        # Clocks differ between processes, and all of them must stop at the same cycle.
        control.should_training_stop |= from_main(over or stopped)

    def _refuse_constant(self, rows: list[Row]) -> None:
        limit, count = self.config.alarms.constant_cycles, constant_for(rows)
        if limit is not None and count >= limit:
            raise UserError(
                f"ppo: in each of the last {count} cycles every completion got the same reward "
                f"({rows[-1]['reward']:g}), so there is nothing to learn from: mend the reward, "
                "or raise ppo.alarms.constant_cycles if it is rare at first."
            )
