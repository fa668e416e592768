"""What the supervisor and its workers tell each other: one JSON object a line over a socket pair.

The supervisor sends ``load`` (make a bundle ready beside the present one), ``swap`` (answer with
it from now on), ``drop`` (forget it), ``keys`` (read the API keys again) and ``done`` (what became
of a change that this worker asked for). A worker sends ``ready``, ``failed``, ``loaded`` and
``reload`` (please change all of us). Each side takes the other's silence, the end of the stream,
for its death.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from envs.errors import UserError

#: Seconds for every worker to load a bundle.
LOAD_TIME = 120.0

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """Return a message as a line."""
    return json.dumps(message).encode() + b"\n"


async def read(stream: asyncio.StreamReader) -> Message | None:
    """Return the next message, None at the end of the stream."""
    try:
        line = await stream.readline()
    except ConnectionError:
        return None
    return json.loads(line) if line.endswith(b"\n") else None


class Channel:
    """A worker's end: it asks for changes, and its `Room` is changed through it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self._asked: asyncio.Future[Message] | None = None

    def say(self, message: Message) -> None:
        """Send a message to the supervisor."""
        self._writer.write(encode(message))

    async def reload(self, path: Path | None) -> int:
        """Have all workers change to the bundle of a folder; return how many did.

        Raises:
            UserError: the bundle is bad, or a change is under way already.
        """
        if self._asked is not None:
            raise UserError("a change of bundle is under way; try again when it is done")
        self._asked = asyncio.get_running_loop().create_future()
        try:
            self.say({"say": "reload", "path": None if path is None else str(path)})
            answer = await self._asked
        finally:
            self._asked = None
        if answer["why"] is not None:
            raise UserError(answer["why"])
        return int(answer["workers"])

    def answer(self, message: Message) -> None:
        """Take what became of the change that was asked for."""
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(message)
