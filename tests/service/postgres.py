"""A PostgreSQL server of our own on a socket in its folder, where its programs are there."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def programs() -> Path | None:
    """Return the folder with `initdb` and `postgres`: on the path, or where Debian puts it."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


def _user() -> str | None:
    """Whom the server runs as: it refuses root. None is ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


class Server:
    """A cluster that can be stopped and started again."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self._folder, self._tools, self._user = folder, tools, _user()
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._run("initdb", "--auth=trust", "--username=shop", "--no-sync", str(folder / "data"))
        self.start()
        self._run("createdb", "--host", str(folder), "--username=shop", "shop")

    @property
    def url(self) -> str:
        """For `--store`."""
        return f"postgresql://shop@/shop?host={self._folder}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-k {self._folder} -c listen_addresses=''"
        log = str(self._folder / "log")
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-o", options, "-l", log, "-w", "start"
        )

    def stop(self) -> None:
        """Stop at once, as a crash would: what was committed must be there afterwards."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def kill(self) -> None:
        """End it, running or not."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = (self._folder / "data" / "postmaster.pid").read_text().splitlines()
            os.kill(int(lines[0]), signal.SIGQUIT)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._tools / program), *arguments], check=True, capture_output=True, timeout=60,
            user=self._user, cwd=self._folder, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )  # fmt: skip


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Run a server; skips the test where there can be none."""
    tools = programs()
    if tools is None:
        pytest.skip("PostgreSQL's programs are not installed here")
    if os.geteuid() == 0 and _user() is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is nobody else here")
    # Not pytest's own folder, whose parents other users may not enter; sockets need short names.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        Path(name).chmod(0o755)
        running = Server(Path(name), tools)
        try:
            yield running
        finally:
            running.kill()
