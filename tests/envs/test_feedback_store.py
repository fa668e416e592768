"""A log folder that grows: parts, rotation, a killed writer, a second one, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from envs.errors import UserError
from envs.feedback import read_feedback
from envs.feedback_store import FeedbackWriter


def slates(first: int, count: int) -> pd.DataFrame:
    """``count`` slates of two, numbered from ``first``; two slates a session."""
    slate = first + np.repeat(np.arange(count), 2)
    return pd.DataFrame(
        {
            "session_id": slate // 2,
            "slate_id": slate,
            "position": np.tile([0, 1], count),
            "item_id": [f"item {s}" for s in slate],
            "reward": slate / 7,
            "pscore": 0.25,
            "done": slate % 2 == 1,
        }
    )


def test_parts_hold_whole_appends_and_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "log"
    with FeedbackWriter(folder, rows_per_part=8, description={"logging_policy": "mine"}) as writer:
        for first in range(0, 14, 2):
            writer.append(slates(first, 2))
            assert writer.rows == 2 * (first + 2)
    parts = sorted(path.name for path in folder.iterdir())
    assert parts == ["log.json", *(f"part-{n:05d}.parquet" for n in range(4))]
    assert [pq.read_metadata(p).num_rows for p in sorted(folder.glob("part-*"))] == [8, 8, 8, 4]
    pd.testing.assert_frame_equal(read_feedback(folder), slates(0, 14))
    assert json.loads((folder / "log.json").read_text()) == {
        "schema": 1,
        "logging_policy": "mine",
    }


def test_arrow_tables_are_taken_too(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(slates(0, 3), preserve_index=False)
    encoded = table.set_column(3, "item_id", table["item_id"].dictionary_encode())
    with FeedbackWriter(tmp_path) as writer:
        writer.append(encoded)
        writer.append(slates(3, 1))
    pd.testing.assert_frame_equal(read_feedback(tmp_path), slates(0, 4))


def test_a_log_is_taken_up_after_its_last_row(tmp_path: Path) -> None:
    with FeedbackWriter(tmp_path) as writer:
        assert writer.last_row() is None
        writer.append(slates(0, 3))
        held = writer.last_row()
    with FeedbackWriter(tmp_path) as writer:
        assert writer.rows == 6
        assert writer.last_row() == held == slates(0, 3).iloc[-1].to_dict()
        writer.append(slates(3, 2))
    pd.testing.assert_frame_equal(read_feedback(tmp_path), slates(0, 5))


def test_columns_without_values_yet_hold_text_later(tmp_path: Path) -> None:
    with FeedbackWriter(tmp_path, rows_per_part=1) as writer:
        writer.append(slates(0, 1).assign(query=None))
        writer.append(slates(1, 1).assign(query="light watch"))
    assert read_feedback(tmp_path)["query"].tolist()[2:] == ["light watch"] * 2
    assert read_feedback(tmp_path)["query"].isna().tolist() == [True, True, False, False]


def test_flush_writes_what_is_held(tmp_path: Path) -> None:
    with FeedbackWriter(tmp_path) as writer:
        writer.flush()
        assert not list(tmp_path.glob("part-*"))
        writer.append(slates(0, 1))
        writer.flush()
        assert len(read_feedback(tmp_path)) == 2


def test_an_error_in_the_block_keeps_what_was_appended(tmp_path: Path) -> None:
    def interrupted() -> None:
        with FeedbackWriter(tmp_path) as writer:
            writer.append(slates(0, 1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(read_feedback(tmp_path)) == 2


_KILLED = """
    import os, signal, sys
    from pathlib import Path
    import pyarrow.parquet as pq
    from envs.feedback_store import FeedbackWriter
    from tests.envs.test_feedback_store import slates

    whole, written = pq.write_table, []

    def killed_in_the_third_part(table, path, **options):
        if len(written) == 2:
            path.write_bytes(b"PAR1 half a part")
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(path)
        whole(table, path, **options)

    pq.write_table = killed_in_the_third_part
    with FeedbackWriter(Path(sys.argv[1]), rows_per_part=4) as writer:
        for first in range(100):
            writer.append(slates(first, 1))
"""


def test_a_killed_writer_leaves_a_readable_log(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(_KILLED), str(tmp_path)])
    assert done.returncode == -9
    leavings = list(tmp_path.glob(".part-*"))
    assert len(leavings) == 1
    assert leavings[0].read_bytes() == b"PAR1 half a part"
    pd.testing.assert_frame_equal(read_feedback(tmp_path), slates(0, 4))
    with FeedbackWriter(tmp_path, rows_per_part=4) as writer:
        assert not list(tmp_path.glob(".part-*"))
        assert writer.rows == 8
        writer.append(slates(4, 3))
    pd.testing.assert_frame_equal(read_feedback(tmp_path), slates(0, 7))


# Refusals


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with (
        FeedbackWriter(tmp_path),
        pytest.raises(UserError, match="another process is writing this log"),
        FeedbackWriter(tmp_path),
    ):
        pass  # pragma: no cover
    with FeedbackWriter(tmp_path):  # the first one is through
        pass


def test_a_log_of_another_description_is_not_gone_on_with(tmp_path: Path) -> None:
    with FeedbackWriter(tmp_path, description={"seed": 1, "logging_policy": "a"}) as writer:
        writer.append(slates(0, 1))
    with (
        pytest.raises(UserError, match="was written with seed 1, not 2"),
        FeedbackWriter(tmp_path, description={"seed": 2, "logging_policy": "a"}),
    ):
        pass  # pragma: no cover
    with (
        pytest.raises(UserError, match="logging_policy 'a', not None"),
        FeedbackWriter(tmp_path, description={"seed": 1}),
    ):
        pass  # pragma: no cover


def test_rows_that_break_a_rule_change_nothing(tmp_path: Path) -> None:
    with FeedbackWriter(tmp_path, rows_per_part=1) as writer:
        writer.append(slates(0, 1))
        with pytest.raises(UserError, match=r"new rows: column 'pscore', row 1 .*it is 2.0"):
            writer.append(slates(1, 1).assign(pscore=[0.25, 2.0]))
        with pytest.raises(UserError, match="missing: done; new: margin"):
            writer.append(slates(1, 1).drop(columns="done").assign(margin=1.0))
        with pytest.raises(UserError, match="rows must have the log's types"):
            writer.append(slates(1, 1).assign(session_id="a"))
        assert writer.rows == 2
    pd.testing.assert_frame_equal(read_feedback(tmp_path), slates(0, 1))


def test_a_folder_of_other_files_is_not_appended_to(tmp_path: Path) -> None:
    slates(0, 1).to_parquet(tmp_path / "theirs.parquet")
    with pytest.raises(UserError, match=r"no log.json"), FeedbackWriter(tmp_path):
        pass  # pragma: no cover
    with pytest.raises(UserError, match="rows_per_part must be 1 or more, but is 0"):
        FeedbackWriter(tmp_path, rows_per_part=0)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    with FeedbackWriter(tmp_path) as writer:
        writer.append(slates(0, 1))
    part = tmp_path / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"part-00000.parquet: cannot be read"):
        read_feedback(tmp_path)
    with (
        pytest.raises(UserError, match=r"part-00000.parquet: cannot be read .*move the part away"),
        FeedbackWriter(tmp_path),
    ):
        pass  # pragma: no cover


# Folders as `read_feedback` sees them


def test_parts_of_other_tools_in_sub_folders(tmp_path: Path) -> None:
    for day, first in (("2026-01-02", 3), ("2026-01-01", 0)):
        part = tmp_path / f"date={day}" / "part-0-abc.snappy.parquet"
        part.parent.mkdir()
        slates(first, 3).rename(columns={"item_id": "action"}).to_parquet(part)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "_tmp.parquet").write_bytes(b"half")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "part.parquet").write_bytes(b"half")
    frame = read_feedback(tmp_path, column_map={"item_id": "action"})
    assert frame["item_id"].tolist() == slates(0, 6)["item_id"].tolist()
    assert frame["slate_id"].tolist() == slates(0, 6)["slate_id"].tolist()


def test_a_broken_rule_names_the_part_and_the_row_in_it(tmp_path: Path) -> None:
    slates(0, 3).to_parquet(tmp_path / "a.parquet")
    slates(3, 2).assign(pscore=[0.25, 0.25, 0.25, 0.0]).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: column 'pscore', row 3 .*it is 0.0"):
        read_feedback(tmp_path)
    slates(2, 3).to_parquet(tmp_path / "b.parquet")  # slate 2 is in both
    with pytest.raises(UserError, match=r"b\.parquet: .*row 0 .*slate 2 must show each position"):
        read_feedback(tmp_path)
    slates(3, 2).drop(columns="reward").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: column 'reward', row 0 .*it is nan"):
        read_feedback(tmp_path)


def test_folders_that_are_no_logs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no Parquet file"):
        read_feedback(tmp_path)
    slates(0, 1).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "log.json").write_text('{"schema": 9}')
    with pytest.raises(UserError, match="schema must be 1, but is 9"):
        read_feedback(tmp_path)
    (tmp_path / "log.json").write_text("{")
    with pytest.raises(UserError, match=r"log.json: cannot be read as JSON"):
        read_feedback(tmp_path)
