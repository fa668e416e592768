"""What a person sees while a command runs, and how it ends: progress, one-line errors, exit codes.

Everything here goes to stderr, so that stdout holds a command's result and nothing else.
"""

from __future__ import annotations

import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TextIO

import typer
from rich.console import Console as RichConsole
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.text import Text
from typer.exceptions import TyperException

from envs.errors import UserError
from envs.files import write_json
from envs.progress import Progress
from experiments.extras import missing_extra

#: Exit codes of every command.
BUG, MISTAKE, VERDICT_NO, INTERRUPTED = 1, 2, 3, 130

#: Where stderr is no terminal, a task prints at most one line in this many seconds.
LINE_EVERY = 5.0


class StrictVerdict(Exception):
    """The answer is "no" and ``--strict`` was asked for: exit code 3, the message on stderr."""


@dataclass
class Pace:
    """How long a task has run, and how long it will, as its reports tell.

    The rate counts from the first report, because a resumed task does not begin at 0.
    """

    began: float
    first: tuple[float, int] | None = None
    last: int = 0

    def report(self, now: float, done: int, total: int) -> float | None:
        """Take a report; return the seconds left, or None while nothing is known."""
        if done < self.last:  # the task began again
            self.began, self.first = now, None
        self.last = done
        if self.first is None:
            self.first = (now, done)
        since, start = self.first
        if done <= start or total <= 0:
            return None
        return (now - since) / (done - start) * max(0, total - done)


@dataclass
class Console:
    """Progress bars on a terminal, a plain line now and then elsewhere, nothing when quiet.

    Warnings are kept in ``warnings`` however they are shown.
    """

    quiet: bool = False
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rich = RichConsole(file=self.stream, quiet=self.quiet, highlight=False)
        self._live: RichProgress | None = None

    def say(self, line: str) -> None:
        """Show a line, above the bars if there are any."""
        self._rich.print(Text(line), soft_wrap=True)

    def warn(self, line: str) -> None:
        """Show a warning and keep it."""
        self.warnings.append(line)
        self._rich.print(Text(f"warning: {line}", style="yellow"), soft_wrap=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and, unless it fails, how long it took; its bars end with it."""
        started = self.clock()
        self.say(f"{name} ...")
        try:
            yield
        finally:
            if self._live:
                self._live.stop()
                self._live = None
        self.say(f"{name} done in {_duration(self.clock() - started)}")

    def progress(self, name: str) -> Progress:
        """Return a callback that shows how far the task ``name`` is; a smaller count restarts it.

        On a terminal call it inside `stage`, which takes the bar down.
        """
        if self.quiet:
            return lambda done, total, figures: None
        return self._bar(name) if self._rich.is_interactive else self._lines(name)

    def _lines(self, name: str) -> Progress:
        pace, shown = Pace(self.clock()), self.clock()

        def report(done: int, total: int, figures: Mapping[str, float]) -> None:
            nonlocal shown
            now = self.clock()
            left = _left(pace.report(now, done, total))
            if now - shown < LINE_EVERY:
                return
            shown = now
            count = f"{name} {done}/{total}" if total > 0 else f"{name} {done}"
            parts = [count, _duration(now - pace.began), left, _figures(figures)]
            self.say("  ".join(part for part in parts if part))

        return report

    def _bar(self, name: str) -> Progress:
        pace, task = Pace(self.clock()), None

        def report(done: int, total: int, figures: Mapping[str, float]) -> None:
            nonlocal task
            bars = self._bars()
            if task is None:
                task = bars.add_task(name, total=None, left="", figures="")
            elif done < pace.last:
                bars.reset(task)
            left = _left(pace.report(self.clock(), done, total))
            known = total if total > 0 else None
            bars.update(task, completed=done, total=known, left=left, figures=_figures(figures))

        return report

    def _bars(self) -> RichProgress:
        if self._live is None:
            # stdout is left alone, because a command's result may be piped from it.
            self._live = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}", markup=False),
                TextColumn("{task.fields[figures]}", markup=False),
                console=self._rich,
                redirect_stdout=False,
                transient=True,
            )
            self._live.start()
        return self._live


def _duration(seconds: float) -> str:
    """Return ``4.2 s``, ``1 min 07 s`` or ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{_duration(seconds)} left"


def _figures(figures: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in figures.items())


# --- results -------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: NumPy scalars and arrays as Python's, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    # JSON has no NaN or infinity, and a figure that is none must not break the file it is in.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def emit_json(path: str | Path, value: Any) -> None:
    """Write a result as JSON to ``path``; ``-`` is stdout."""
    if str(path) == "-":
        json.dump(plain(value), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        sys.stdout.write("\n")
        return
    try:
        write_json(Path(path), plain(value))
    except OSError as error:
        raise UserError(f"--json {path}: cannot be written: {error.strerror}.") from None


# --- the way out ---------------------------------------------------------------------------------


def run_cli(app: typer.Typer, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a Typer application and leave with the exit codes that DESIGN 7 promises.

    0 done; 2 the user's mistake, as one line; 3 a `StrictVerdict`; 130 interrupted; 1 our own
    bug, with its traceback.
    """
    raise SystemExit(_exit_code(app, arguments))


def _exit_code(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    try:
        # Outside its standalone mode Typer lets exceptions through, and turns an Exit and an
        # interrupt into the value returned.
        code = typer.main.get_command(app).main(
            args=None if arguments is None else list(arguments),
            prog_name="shelftalk",
            standalone_mode=False,
        )
        return code if isinstance(code, int) else 0
    except UserError as error:
        return _fail(str(error), MISTAKE)
    except StrictVerdict as verdict:
        return _fail(str(verdict), VERDICT_NO)
    except TyperException as error:
        return _usage(error)
    except ModuleNotFoundError as error:
        if line := missing_extra(error.name or ""):
            return _fail(line, MISTAKE)
        traceback.print_exc()
        return BUG
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", INTERRUPTED)
    except Exception:
        traceback.print_exc()
        return BUG


def _usage(error: TyperException) -> int:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if not message:  # no arguments at all: the help has been printed
        return MISTAKE
    hint = f" Try `{context.command_path} --help`." if context else ""
    return _fail(message.rstrip(".") + "." + hint, MISTAKE)


def _fail(message: str, code: int) -> int:
    # One line, whatever the message quoted.
    print("shelftalk: " + " ".join(message.split()), file=sys.stderr)
    return code
