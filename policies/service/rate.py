"""A token bucket for each key, shared by all workers through a small file.

Each bucket holds up to ``burst`` tokens and gains ``rate`` a second; a request takes one. The
buckets lie in a memory-mapped file, each under its own record lock: the system frees the lock of a
process that is killed, so that no worker ever waits for a dead one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from pathlib import Path

#: Tokens that sums of fractions may miss.
_ROUNDING = 1e-9
_BUCKET = struct.Struct("dd")  # tokens, and when they were counted (monotonic seconds)


class RateLimit:
    """Buckets number 0 to ``count`` - 1.

    Args:
        path: the shared file; made where it is not there.
        count: number of buckets.
        rate: tokens a second, above 0.
        burst: most tokens, 1 at least.
    """

    def __init__(self, path: Path, count: int, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, count * _BUCKET.size)
        self._map = mmap.mmap(self._file, count * _BUCKET.size)

    def take(self, bucket: int, now: float | None = None) -> float:
        """Take a token; return 0, or the seconds until there is one.

        ``now`` is a monotonic time, which all processes of a machine share.
        """
        now = time.monotonic() if now is None else now
        at = bucket * _BUCKET.size
        fcntl.lockf(self._file, fcntl.LOCK_EX, _BUCKET.size, at)
        try:
            tokens, since = _BUCKET.unpack_from(self._map, at)
            # A new file is zeros, which means that the bucket was never used: it is full.
            passed = max(now - since, 0.0) if since else self._burst / self._rate
            tokens = min(self._burst, tokens + passed * self._rate)
            enough = tokens > 1 - _ROUNDING
            _BUCKET.pack_into(self._map, at, tokens - 1 if enough else tokens, now)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _BUCKET.size, at)
        return 0.0 if enough else (1 - tokens) / self._rate

    def close(self) -> None:
        """Let the file go."""
        self._map.close()
        os.close(self._file)
