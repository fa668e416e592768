"""Simulation spread over processes or machines with Ray; results do not depend on how many.

A session depends on its seed alone, so the batches of `parts_of` can be played anywhere in any
order. Nothing here is needed for one process, and Ray is imported only when it is used.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from envs.errors import UserError
from envs.progress import Progress
from envs.world import World
from experiments.simulate import Contestant, Player, Sessions, joined, parts_of, play
from policies.baselines import SlatePolicy

#: Bytes for what workers share: worlds and results.
_STORE = 256 * 1024**2


def on_workers(workers: int, address: str | None = None) -> Player:
    """Return a player that keeps ``workers`` tasks running.

    Args:
        workers: tasks at a time, each with one CPU.
        address: of a running Ray cluster, such as ``auto`` or ``ray://host:10001``, every node of
            which has Shelftalk installed; None starts Ray on this machine and stops it at the end.
    """

    def player(
        contestants: Sequence[Contestant], seeds: range, progress: Progress
    ) -> dict[str, Sessions]:
        with ray_for(workers, address) as ray:
            return _play(ray, contestants, seeds, progress, workers)

    return player


@contextmanager
def ray_for(workers: int, address: str | None) -> Iterator[Any]:
    """Connect to Ray or start it for the length of the block; one that runs already is used."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    own = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _STORE}
    started = not ray.is_initialized()
    if started and address is not None:
        _knock(address)
    try:
        if started and address is None:
            # "local" keeps RAY_ADDRESS in the environment from sending the work elsewhere.
            ray.init(address="local", **own, **quiet)
        elif started:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, str(error)) from None
    try:
        yield ray
    except ray.exceptions.RayTaskError as error:
        # What went wrong inside a task is told as if it had happened here.
        raise error.cause from error
    except ray.exceptions.RayError as error:
        raise UserError(
            f"simulate: a worker was lost ({type(error).__name__}), most likely for want of "
            f"memory; give fewer than --workers {workers}"
        ) from None
    finally:
        if started:
            ray.shutdown()


def _knock(address: str) -> None:
    """Ask whether anybody listens at ``host:port``: Ray itself would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return  # such as ``auto``, which Ray looks up without waiting
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from None


def _no_cluster(address: str | None, why: str) -> UserError:
    reason = next(iter(why.strip().splitlines()), "no answer")
    return UserError(
        f"--address {address}: no Ray cluster can be reached there ({reason}); give the address "
        "that `ray start` printed, or leave --address out to use this machine"
    )


def _task(world: World, policy: SlatePolicy, count: int, seed: int) -> Sessions:
    import torch

    # One thread a worker: more would only fight over the cores.
    torch.set_num_threads(1)
    return play(world, policy, count, seed)


def _play(
    ray: Any, contestants: Sequence[Contestant], seeds: range, progress: Progress, workers: int
) -> dict[str, Sessions]:
    task = ray.remote(_task).options(num_cpus=1)
    # A world is sent once, however many policies play in it.
    worlds = {
        key: ray.put(world) for key, world in {id(c.world): c.world for c in contestants}.items()
    }
    jobs = [(one, part) for one in contestants for part in parts_of(seeds)]
    waiting = list(enumerate(jobs))
    running: dict[Any, int] = {}
    done: dict[int, Sessions] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            number, (one, part) = waiting.pop(0)
            handle = task.remote(worlds[id(one.world)], one.policy, len(part), part.start)
            running[handle] = number
        ready, _ = ray.wait(list(running), num_returns=1)
        for handle in ready:
            result = ray.get(handle)
            done[running.pop(handle)] = result
            progress(len(done), len(jobs), {"return": float(result.reward.mean())})
    return {
        one.name: joined(done[n] for n, (other, _) in enumerate(jobs) if other is one)
        for one in contestants
    }
