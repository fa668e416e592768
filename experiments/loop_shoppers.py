"""Simulated shoppers who visit a service over HTTP: what is shown decides what they do.

Each shopper is a session of the simulated shop (`envs.shop`), whose hidden state never leaves it.
The service is told what a real shop would know (who, which scene, what could be shown, what the
visit had shown so far) and answers with a shelf; the shop lets the shopper click and buy on it, and
the events go back under ids of their own.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from envs import sessions
from envs.errors import UserError
from envs.progress import Progress, silent
from envs.sessions import SEARCH, SIMILAR, SessionState
from envs.shop import ShopVectorEnv
from envs.world import World
from experiments.ope.impressions import ShopNames
from experiments.ope.shop_log import state_rows

#: Shoppers in the shop at a time, and seconds for an answer.
_TOGETHER, _PATIENCE = 200, 60

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]


class Connections:
    """Requests to a service over a bounded number of connections that stay open."""

    def __init__(self, url: str, count: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), parts.port
        self._own = threading.local()
        self._open: list[http.client.HTTPConnection] = []
        self._pool = ThreadPoolExecutor(count, "shopper")
        self._lock = threading.Lock()
        #: Answers by route and status, "POST /v1/shelf 200"; a connection that broke has status 0.
        self.answers: Counter[str] = Counter()

    def close(self) -> None:
        """Let the connections go."""
        self._pool.shutdown()
        for connection in self._open:
            connection.close()

    def post_all(self, path: str, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send bodies side by side; return the answers in order.

        Raises:
            UserError: one of them was not answered with 200.
        """
        return list(self._pool.map(lambda body: self.post(path, body), bodies))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send one body and return the answer."""
        try:
            status, answer = self._send(path, json.dumps(body))
        except OSError as error:
            status, answer = 0, str(error)
        with self._lock:
            self.answers[f"POST {path} {status}"] += 1
        if status != 200:
            raise UserError(f"loop: POST {path} was answered with {status}: {answer[:200]}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def _send(self, path: str, body: str) -> tuple[int, str]:
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=_PATIENCE)
            self._own.connection = connection
            with self._lock:
                self._open.append(connection)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()


@dataclass
class PagesMet:
    """Pages as they stood before their shoppers: what a policy's true value is asked of."""

    #: Shoppers whose pages are kept, the first ones.
    shoppers: int
    observations: list[dict[str, NDArray[np.float32]]] = field(default_factory=list)
    states: list[SessionState] = field(default_factory=list)


@dataclass(frozen=True)
class Visits:
    """What came of n shoppers, each (n,)."""

    #: Reward of the session, leaving included; and that of its clicks and purchases alone.
    reward: F64
    earned: F64
    pages: I64
    seconds: float


def visit(
    connections: Connections,
    world: World,
    names: ShopNames,
    seeds: range,
    *,
    met: PagesMet | None = None,
    progress: Progress = silent,
) -> Visits:
    """Let the sessions of ``seeds`` visit the service.

    Args:
        connections: to the service.
        world: the shop, with the reasons that the service shows.
        names: what its rows are called.
        seeds: of the sessions.
        met: keeps the pages, if given.
        progress: called with sessions done and sessions in all.

    Raises:
        UserError: the service did not answer.
    """
    began, done = time.monotonic(), []
    for first in range(0, len(seeds), _TOGETHER):
        part = seeds[first : first + _TOGETHER]
        kept = met if met is not None and first < met.shoppers else None
        done.append(_Crowd(connections, world, names, part).visit(kept))
        progress(first + len(part), len(seeds), {"earned": float(done[-1][1].mean())})
    joined = [np.concatenate(column) for column in zip(*done)]
    return Visits(joined[0], joined[1], joined[2], time.monotonic() - began)


class _Crowd:
    """Shoppers who are in the shop together, a page at a time."""

    def __init__(
        self, connections: Connections, world: World, names: ShopNames, seeds: range
    ) -> None:
        self._connections, self._world = connections, world
        self._items, self._shoppers, self._queries = (
            part.to_pylist() for part in (names.items, names.shoppers, names.queries)
        )
        self._env = ShopVectorEnv(world, len(seeds))
        self._seen, _ = self._env.reset(seed=seeds.start)
        #: Of each shopper's present visit: what the service knows of it.
        self._sessions: list[dict[str, Any]] = [{"pages": []} for _ in seeds]

    def visit(self, met: PagesMet | None) -> tuple[F64, F64, I64]:
        """Return reward, reward of clicks and purchases, and pages of each, (B,)."""
        env, slots = self._env, self._world.config.slots
        live = np.ones(env.num_envs, dtype=bool)
        reward, earned = np.zeros(env.num_envs), np.zeros(env.num_envs)
        pages = np.zeros(env.num_envs, dtype=np.int64)
        while live.any():
            rows = np.flatnonzero(live)
            if met is not None:
                met.observations.append({n: values[rows] for n, values in self._seen.items()})
                met.states.append(state_rows(env.state, rows))
            offered = sessions.candidates(self._world, env.state)[1]
            asked = [self._ask(row, offered[row]) for row in rows.tolist()]
            shelves = self._connections.post_all("/v1/shelf", asked)
            actions = np.tile(np.arange(slots), (env.num_envs, 1))
            for row, shelf in zip(rows.tolist(), shelves):
                actions[row] = self._slate(shelf, offered[row].tolist(), slots)
            visits = env.state.visit.copy()
            self._seen, page, terminated, truncated, info = env.step(actions)
            told = [
                self._took(row, shelf, info["clicks"][row], info["purchases"][row])
                for row, shelf in zip(rows.tolist(), shelves)
            ]
            events = [{"events": some} for some in told if some]
            self._connections.post_all("/v1/feedback", events)
            reward[rows] += page[rows]
            earned[rows] += info["slot_reward"][rows].sum(axis=1)
            pages[rows] += 1
            live &= ~(terminated | truncated)
            for row in np.flatnonzero(env.state.visit != visits).tolist():
                # Back another day: to a shop, that is another visit.
                self._sessions[row] = {"pages": []}
        return reward, earned, pages

    def _ask(self, row: int, offered: I64) -> dict[str, Any]:
        """Return the request for a shopper's next page."""
        state, pools = self._env.state, self._world.pools
        scene, anchor = int(state.scene[row]), int(state.anchor[row])
        asked: dict[str, Any] = {
            "shopper": self._shoppers[int(state.shopper[row])],
            "candidates": [
                self._items[item]
                for item, free in zip(offered.tolist(), self._seen["mask"][row].tolist())
                if free
            ],
            "k": self._world.config.slots,
            "session": self._sessions[row],
        }
        if scene == SEARCH:
            asked["query"] = self._queries[anchor - pools.first_row(SEARCH)]
        elif scene == SIMILAR:
            asked["item"] = self._items[int(pools.owners[anchor - pools.first_row(SIMILAR)])]
        return asked

    def _slate(self, shelf: dict[str, Any], offered: list[int], slots: int) -> I64:
        """Return the candidate positions of what was shown; a repeated one shows nothing."""
        place = {self._items[item]: at for at, item in enumerate(offered)}
        shown = [place[item["item_id"]] for item in shelf["items"]]
        return np.array([*shown, *[shown[0]] * (slots - len(shown))], dtype=np.int64)

    def _took(
        self, row: int, shelf: dict[str, Any], clicks: NDArray[np.bool_], buys: NDArray[np.bool_]
    ) -> list[dict[str, Any]]:
        """Note a page in the visit; return its events."""
        shown = [item["item_id"] for item in shelf["items"]]
        clicked = [item for item, flag in zip(shown, clicks.tolist()) if flag]
        bought = [item for item, flag in zip(shown, buys.tolist()) if flag]
        visit = self._sessions[row]
        self._sessions[row] = {
            "session_id": shelf["session_id"],
            "pages": [*visit["pages"], {"shown": shown, "clicked": clicked, "bought": bought}],
        }
        return [
            {
                "event_id": f"{shelf['slate_id']}-{shown.index(item)}-{kind}",
                "slate_id": shelf["slate_id"], "item_id": item, "type": kind,
            }
            for kind, items in (("click", clicked), ("purchase", bought))
            for item in items
        ]  # fmt: skip
