"""Logs as one JSON object a line, without personal data.

Shoppers appear as the first 16 hex digits of an HMAC-SHA256 under a key that is not logged: lines
of one shopper can be told from others', but nobody can tell who it is. Query texts, bodies and raw
paths are never logged.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

#: The environment variable with the HMAC's key; a random one lasts until the service stops.
VARIABLE = "SHELFTALK_LOG_KEY"


class JsonLog:
    """Writes events to a stream, stderr unless told."""

    def __init__(self, key: bytes, stream: TextIO | None = None) -> None:
        self.key = key
        self._stream = sys.stderr if stream is None else stream

    def write(self, event: str, level: str = "info", **fields: Any) -> None:
        """Write one line."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": level, "event": event, **fields}
        try:
            self._stream.write(json.dumps(line, ensure_ascii=True, default=str) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # a full disk or a closed pipe of the log must not end the service

    def error(self, event: str, error: BaseException, **fields: Any) -> None:
        """Write an exception by its type and place, without its text, which may quote a request."""
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
        self.write(event, "error", error=type(error).__name__, trace=places, **fields)

    def pseudonym(self, shopper: str | None) -> str | None:
        """Return what a shopper is called in the log."""
        if shopper is None:
            return None
        digest = hmac.new(self.key, shopper.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return digest.hexdigest()[:16]


class LibraryLog(logging.Handler):
    """Passes warnings and errors of libraries on as JSON, by name and place alone."""

    def __init__(self, log: JsonLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record of the standard library's logging."""
        where = f"{record.filename}:{record.lineno}"
        if record.exc_info and record.exc_info[1] is not None:
            self._log.error("library", record.exc_info[1], logger=record.name, where=where)
        else:
            self._log.write(
                "library", record.levelname.lower(), logger=record.name, where=where,
                message=str(record.msg),
            )  # fmt: skip
