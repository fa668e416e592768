"""What goes to stderr and stdout, and with which code a command ends."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import typer

from envs.errors import UserError
from experiments.cli import cli as whole
from experiments.console import Console, StrictVerdict, emit_json, plain, run_cli

app = typer.Typer()


@app.command()
def fail(how: str, count: int = 0) -> None:
    """Fail in the way asked for."""
    if how == "exit":
        raise typer.Exit(5)
    raise {
        "user": UserError("no column\n'price'"),
        "strict": StrictVerdict("no lift"),
        "interrupt": KeyboardInterrupt(),
        "bug": ZeroDivisionError("ours"),
    }[how]


@app.command()
def fine(json_path: str) -> None:
    """Say something and give a result."""
    Console().say("working")
    emit_json(json_path, {"value": np.float32(0.5)})


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        run_cli(app, arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("fail", "user"), 2, "shelftalk: no column 'price'\n"),
        (("fail", "strict"), 3, "shelftalk: no lift\n"),
        (("fail", "interrupt"), 130, ""),
        (("fail", "exit"), 5, ""),
    ],
)
def test_each_end_has_its_code_and_at_most_one_line(
    arguments: tuple[str, ...], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*arguments) == code
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("fail", "user", "--cuont", "3"), "--cuont"),
        (("fail", "user", "--count", "many"), "--count"),
        (("fail",), "how"),
        (("fial",), "fial"),
    ],
)
def test_a_wrong_argument_is_one_line_that_points_to_the_help(
    arguments: tuple[str, ...], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*arguments) == 2
    out, line = capsys.readouterr()
    assert out == ""
    assert line.startswith("shelftalk: ")
    assert part in line.lower()
    assert "--help" in line
    assert line.count("\n") == 1


def test_no_arguments_print_the_help_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_cli(whole, [])
    out, line = capsys.readouterr()
    assert left.value.code == 2
    assert "bench" in out + line
    assert "shelftalk: ." not in out + line


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_cli(whole, ["--version"])
    assert (left.value.code, capsys.readouterr().out) == (0, f"shelftalk {version('shelftalk')}\n")


def test_a_bug_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("fail", "bug") == 1
    out, text = capsys.readouterr()
    assert out == ""
    assert "Traceback" in text
    assert "ZeroDivisionError: ours" in text


def test_a_result_on_stdout_is_alone_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("fine", "-") == 0
    out, text = capsys.readouterr()
    assert json.loads(out) == {"value": 0.5}
    assert text == "working\n"


def test_a_result_goes_to_a_file_and_an_impossible_path_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "result.json"
    assert _run("fine", str(path)) == 0
    assert json.loads(path.read_text()) == {"value": 0.5}
    assert _run("fine", str(path / "below.json")) == 2
    assert "shelftalk: --json" in capsys.readouterr().err


def test_plain_values_are_what_json_holds() -> None:
    value = {
        "n": np.int64(3),
        "each": np.array([1.0, np.nan]),
        "inf": float("inf"),
        "pair": (1, Path("a/b")),
        4: None,
    }
    expected = {"n": 3, "each": [1.0, None], "inf": None, "pair": [1, "a/b"], "4": None}
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected


# --- progress -----------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_outside_a_terminal_a_task_prints_a_line_every_five_seconds_at_most(clock: Clock) -> None:
    stream = StringIO()
    report = Console(stream=stream, clock=clock).progress("sft")
    for step in range(1, 81):  # eight steps a second
        clock.now += 0.125
        report(step, 80, {"loss": 1 / step})
    lines = stream.getvalue().splitlines()
    assert lines == [
        "sft 40/80  5.0 s  5.0 s left  loss=0.025",
        "sft 80/80  10.0 s  0.0 s left  loss=0.0125",
    ]


def test_a_resumed_task_does_not_count_what_was_done_before_as_its_pace(clock: Clock) -> None:
    stream = StringIO()
    report = Console(stream=stream, clock=clock).progress("sft")
    report(900, 1000, {})
    clock.now += 10
    report(910, 1000, {})
    assert stream.getvalue() == "sft 910/1000  10.0 s  1 min 30 s left\n"


def test_a_task_that_starts_again_starts_its_clock_again(clock: Clock) -> None:
    stream = StringIO()
    report = Console(stream=stream, clock=clock).progress("ppo")
    clock.now += 3600
    report(8, 8, {})
    report(0, 4, {})
    clock.now += 60
    report(1, 4, {})
    assert stream.getvalue().splitlines()[-1] == "ppo 1/4  1 min 00 s  3 min 00 s left"


def test_an_unknown_total_shows_no_remaining_time(clock: Clock) -> None:
    stream = StringIO()
    report = Console(stream=stream, clock=clock).progress("read")
    clock.now += 7
    report(12, 0, {})
    assert stream.getvalue() == "read 12  7.0 s\n"


def test_quiet_shows_nothing_and_keeps_the_warnings() -> None:
    stream = StringIO()
    console = Console(quiet=True, stream=stream)
    with console.stage("sft"):
        console.progress("sft")(1, 1, {})
        console.say("a line")
        console.warn("few items")
    assert stream.getvalue() == ""
    assert console.warnings == ["few items"]


def test_a_stage_says_how_long_it_took_unless_it_failed(clock: Clock) -> None:
    stream = StringIO()
    console = Console(stream=stream, clock=clock)
    with console.stage("shop [1]"):
        clock.now += 3
    with pytest.raises(UserError), console.stage("sft"):
        raise UserError("no")
    assert stream.getvalue() == "shop [1] ...\nshop [1] done in 3.0 s\nsft ...\n"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_bar_shows_count_and_figures_and_goes_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("TTY_INTERACTIVE", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    stream, stderr, stdout = Terminal(), sys.stderr, sys.stdout
    console = Console(stream=stream)
    with console.stage("ppo"):
        report = console.progress("ppo")
        report(3, 8, {"reward": 0.5})
        assert sys.stdout is stdout
        report(8, 8, {"reward": 0.75})
    shown = stream.getvalue()
    assert "8/8" in shown
    assert "reward=0.75" in shown
    assert shown.splitlines()[-1].endswith("ppo done in 0.0 s")
    assert sys.stderr is stderr
