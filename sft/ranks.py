"""The processes of one launch: which one of them writes, and how the others keep step with it.

``torchrun`` and ``accelerate launch`` start the same program several times and tell each copy its
rank in the environment. The process of rank 0, the main one, claims folders, writes and reports;
the others compute beside it. Without a launcher there is one process, it is the main one, and
everything here costs nothing.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from envs.errors import UserError

Result = TypeVar("Result")

#: Longest wait of one process for another, who may be writing a corpus meanwhile.
PATIENCE = timedelta(hours=2)


def processes() -> int:
    """Return how many processes the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def main_process() -> bool:
    """Return whether this process is the one that writes and reports."""
    return int(os.environ.get("RANK", "0")) == 0


def join() -> None:
    """Meet the other processes of the launch, unless that is done.

    Plain tensors travel by gloo; those of GPUs by NCCL, each process with the GPU of its number.
    """
    import torch  # heavy, and of no use to a single process
    import torch.distributed as dist

    if dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    # Gloo's threads abort a process that ends without saying goodbye.
    atexit.register(_leave)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Wait until every process has come here."""
    from_main(None)


def from_main(value: Any) -> Any:
    """Return in every process what the main one passed: plain values, as JSON holds them."""
    if processes() == 1:
        return value
    import torch
    import torch.distributed as dist

    join()
    text = json.dumps(value).encode()
    size = torch.tensor([len(text) if main_process() else 0])
    # A sum instead of a broadcast, because nobody may pass before all are here.
    dist.all_reduce(size)
    sent = torch.zeros(int(size), dtype=torch.uint8)
    if main_process():
        sent = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    dist.broadcast(sent, src=0)
    return json.loads(bytes(sent.tolist()))


def on_main(work: Callable[[], Result]) -> Result:
    """Run ``work`` in the main process only; all return its result, or raise its UserError.

    The result must be plain values, as JSON holds them.
    """
    if processes() == 1:
        return work()
    told: dict[str, Any] = {}
    if main_process():
        try:
            told = {"result": work()}
        except UserError as error:
            told = {"error": str(error)}
    told = from_main(told)
    if "error" in told:
        raise UserError(told["error"])
    return told["result"]
