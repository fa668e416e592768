"""A closed-loop client in a process of its own: so many connections, each asking when answered.

Reads ``{host, port, connections, seconds, warm, head, bodies}`` from stdin, writes ``{milliseconds,
seconds, statuses, requests}`` to stdout, the last with those that do not count. Bare sockets and
ready-made requests: it must cost little beside the service that it measures on the same machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import count
from typing import Any


async def load(asked: dict[str, Any]) -> dict[str, Any]:
    """Keep every connection busy for ``seconds`` after ``warm`` seconds that do not count."""
    requests = [_request(asked["host"], asked["head"], body) for body in asked["bodies"]]
    numbers, took, statuses = count(), list[float](), Counter[int]()
    began = time.perf_counter() + asked["warm"]
    ends = began + asked["seconds"]

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(asked["host"], asked["port"])
        while (sent := time.perf_counter()) < ends:
            writer.write(requests[next(numbers) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            done = time.perf_counter()
            if sent >= began and done <= ends:
                took.append(1000 * (done - sent))
                statuses[int(head[9:12])] += 1
        writer.close()

    await asyncio.gather(*(connection() for _ in range(asked["connections"])))
    return {
        "milliseconds": took, "seconds": asked["seconds"], "statuses": dict(statuses),
        "requests": next(numbers),
    }  # fmt: skip


def _request(host: str, head: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    lines = [
        head, f"Host: {host}", "Content-Type: application/json", f"Content-Length: {len(content)}"
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


if __name__ == "__main__":
    import uvloop

    json.dump(uvloop.run(load(json.load(sys.stdin))), sys.stdout)
