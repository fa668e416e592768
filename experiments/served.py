"""A service in a process of its own, for as long as a block lasts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from envs.errors import UserError

#: Seconds to wait for a service to listen, and to end.
_START, _END = 120, 30


@contextmanager
def served(
    bundle: Path, store: Path, log: Path, options: Sequence[str] = ()
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run ``shelftalk serve`` on a free loopback port; yields its address and its process.

    Args:
        bundle: folder of the bundle.
        store: file of the SQLite store.
        log: file that its log lines go to.
        options: more of its command line.

    Raises:
        UserError: it did not start; the message is what it said.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments", "serve", str(bundle.resolve()), "--port", "0",
             "--store", f"sqlite:///{store.resolve()}", "--rate", "1e9", *options],
            stdout=out, stderr=out, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        yield _address(process, log), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_END)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    ends = time.monotonic() + _START
    while time.monotonic() < ends and process.poll() is None:
        if found := re.search(r"serving .* at (http://\S+)/", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise UserError(f"the service did not start: {log.read_text().strip()}")
