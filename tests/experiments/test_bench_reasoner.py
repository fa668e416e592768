"""The seconds of a cycle: its parts are all of it."""

import numpy as np
import pytest

from experiments.benchmarks.reasoner import PARTS, _by_part


def test_parts_update_and_rest_make_up_the_whole_cycle() -> None:
    cycle = {f"seconds_{part}": 0.1 * (i + 1) for i, part in enumerate(PARTS)}  # 1.5 in all
    seconds = _by_part([{**cycle, "seconds": 2.25}], np.array([2.5]))
    assert seconds["total"] == [2.5]
    assert seconds["update"] == pytest.approx([0.75])
    assert seconds["rest"] == pytest.approx([0.25])
    assert sum(values[0] for name, values in seconds.items() if name != "total") == pytest.approx(
        seconds["total"][0]
    )


def test_what_no_cycle_had_to_do_took_no_time() -> None:
    cycle = {f"seconds_{part}": 0.1 for part in PARTS if part != "logprobs"}
    seconds = _by_part([{**cycle, "seconds": 1.0}], np.array([1.0]))
    assert seconds["logprobs"] == [0]
    assert seconds["update"] == pytest.approx([0.6])
