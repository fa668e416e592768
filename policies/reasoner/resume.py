"""Long writing that survives a kill: finished chunks are kept in a file, and not done again.

The file has one JSON value a line: what it was written from, then a line for each chunk. A chunk is
one write to the disk, so a kill leaves whole chunks and at most one broken line, which is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from envs.progress import Progress, silent


def write_in_chunks(
    kept: Path,
    inputs: str,
    total: int,
    size: int,
    write: Callable[[range], list[Any]],
    progress: Progress = silent,
) -> list[Any]:
    """Return the results of rows 0 to ``total``, going on after those that ``kept`` holds.

    Args:
        kept: file of finished chunks; made if there is none. The caller removes it in the end.
        inputs: a hash of all that the results depend on, how many there are included; a file of
            other inputs starts over.
        total: number of rows.
        size: rows in a chunk.
        write: returns one value that JSON can hold for each row of a range. What it returns for a
            row must not depend on the range that the row is in.
        progress: counts rows, those of an earlier run included.
    """
    done, end = _finished(kept, inputs)
    progress(len(done), total, {})
    with kept.open("r+b" if end else "wb") as stream:
        stream.truncate(end)
        stream.seek(end)
        if not end:
            _append(stream, inputs)
        while len(done) < total:
            rows = range(len(done), min(len(done) + size, total))
            results = write(rows)
            if len(results) != len(rows):
                raise ValueError(f"{len(rows)} rows were to be written, not {len(results)}")
            _append(stream, results)
            done += results
            progress(len(done), total, {})
    return done


def rows_kept(kept: Path, inputs: str) -> int:
    """Return how many rows an earlier run has finished."""
    return len(_finished(kept, inputs)[0])


def _finished(kept: Path, inputs: str) -> tuple[list[Any], int]:
    """Return the results in a file, and how many of its bytes hold them and their inputs."""
    done: list[Any] = []
    end = 0
    if not kept.exists():
        return done, end
    with kept.open("rb") as stream:
        for number, line in enumerate(stream):
            value = _value(line)
            if value != inputs if number == 0 else not isinstance(value, list):
                break
            if number:
                done += value
            end += len(line)
    return done, end


def _value(line: bytes) -> Any:
    if not line.endswith(b"\n"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def _append(stream: Any, value: Any) -> None:
    stream.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
    stream.flush()
    os.fsync(stream.fileno())
