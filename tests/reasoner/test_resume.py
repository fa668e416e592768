"""Chunks that survive a kill: nothing is done twice, and the result is that of one go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policies.reasoner.resume import rows_kept, write_in_chunks


def squares(rows: range) -> list[Any]:
    return [["²", row * row] for row in rows]


class Killed(Exception):
    pass


def killed_after(count: int, asked: list[range]) -> Any:
    """A writer that dies in its chunk number ``count``."""

    def write(rows: range) -> list[Any]:
        if len(asked) == count:
            raise Killed
        asked.append(rows)
        return squares(rows)

    return write


def test_in_one_go(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = write_in_chunks(
        tmp_path / "kept", "a", 10, 4, squares, lambda done, total, _: told.append((done, total))
    )
    assert found == squares(range(10))
    assert told == [(0, 10), (4, 10), (8, 10), (10, 10)]
    assert rows_kept(tmp_path / "kept", "a") == 10


@pytest.mark.parametrize("size", [3, 4])
def test_a_killed_writing_goes_on_where_it_was(tmp_path: Path, size: int) -> None:
    asked: list[range] = []
    with pytest.raises(Killed):
        write_in_chunks(tmp_path / "kept", "a", 10, 4, killed_after(2, asked))
    assert rows_kept(tmp_path / "kept", "a") == 8
    # Another size of chunks is no reason to start over.
    assert write_in_chunks(tmp_path / "kept", "a", 10, size, killed_after(9, asked)) == squares(
        range(10)
    )
    assert asked == [range(0, 4), range(4, 8), range(8, 10)]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_half_written_chunk_is_done_again(tmp_path: Path, cut: int) -> None:
    kept = tmp_path / "kept"
    write_in_chunks(kept, "a", 10, 4, squares)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-cut])
    assert rows_kept(kept, "a") == 8
    assert write_in_chunks(kept, "a", 10, 4, squares) == squares(range(10))
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"\n", b"[1, 2]\n", b'"b"\n[1]\n', b"\xff\xfe\n"])
def test_a_file_of_other_inputs_starts_over(tmp_path: Path, content: bytes) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(content)
    assert rows_kept(kept, "a") == 0
    assert write_in_chunks(kept, "a", 5, 2, squares) == squares(range(5))
    assert write_in_chunks(kept, "a", 5, 2, killed_after(0, [])) == squares(range(5))


def test_a_writer_that_leaves_rows_out_is_our_own_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 rows were to be written, not 2"):
        write_in_chunks(tmp_path / "kept", "a", 5, 3, lambda rows: squares(rows)[1:])
