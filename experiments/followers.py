"""A run under `accelerate launch`: the main process runs it, the others join where it calls them.

Stages marked `together` are run by every process. All else, the folder, the records and the
figures, is the main process's alone; the others wait for its next call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from envs.errors import UserError
from sft.ranks import from_main, processes

if TYPE_CHECKING:
    from experiments.stages import Stage, StageContext

#: Seconds that a process whose work failed waits for the main one to say why and to end.
_LAST_WORDS = 60.0


def check_launch(todo: Sequence[Stage], stages: Sequence[Stage]) -> None:
    """Raise UserError when several processes were launched for work that is done by one."""
    if processes() > 1 and todo and not todo[-1].together:
        shared = ", ".join(stage.name for stage in stages if stage.together)
        raise UserError(
            f"{processes()} processes were launched, but the stage {todo[-1].name!r} runs in one: "
            f"launch a command that ends with a shared stage ({shared or 'there is none'}), and "
            "this one without a launcher."
        )


def lonely_launch() -> str | None:
    """Return what to tell when accelerate was asked for several processes but started only one.

    That is what it does on a machine without GPUs unless told otherwise: it then sets an address
    to meet at, and nobody to meet.
    """
    asked = {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= os.environ.keys()
    if not asked or "LOCAL_RANK" in os.environ:
        return None
    return (
        "accelerate started one process only, as it does on CPUs: add --multi_gpu to "
        "`accelerate launch` for several (they then meet over gloo)"
    )


class Leader:
    """The main process's side of a run; without a launcher it does nothing."""

    def __init__(self) -> None:
        """Begin with everyone listening."""
        self._heard = True

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Send the other processes home when the main one is through with its stages."""
        try:
            yield
        except Exception:
            # In a shared stage they met the same mistake, or wait for us in it: nobody listens.
            if self._heard:
                from_main({"stage": None, "failed": True})
            raise
        from_main({"stage": None, "failed": False})

    @contextmanager
    def calling(
        self, stage: Stage, context: StageContext, metrics: Mapping[str, Any]
    ) -> Iterator[None]:
        """Have the others run ``stage`` too, if it is shared; ``metrics`` are those it needs."""
        if stage.together:
            out, work = str(context.out), str(context.work)
            from_main({"stage": stage.name, "out": out, "work": work, "metrics": dict(metrics)})
            self._heard = False
        yield
        self._heard = True


def follow(
    stages: Sequence[Stage], context_of: Callable[[Stage, Mapping[str, Any]], StageContext]
) -> NoReturn:
    """Run the stages that the main process calls out, then end this process.

    ``context_of`` makes a stage's context from what the main process told. The process ends here,
    because whatever comes after the stages would otherwise be done twice.
    """
    by_name = {stage.name: stage for stage in stages}
    while (order := from_main(None))["stage"] is not None:
        stage = by_name[order["stage"]]
        try:
            stage.run(context_of(stage, order))
        except UserError:
            _wait_for_the_end()
    if order["failed"]:
        _wait_for_the_end()
    raise SystemExit(0)


def _wait_for_the_end() -> NoReturn:
    # A launcher ends all processes with the first that fails: that must be the one with the words.
    time.sleep(_LAST_WORDS)
    raise SystemExit(2)
