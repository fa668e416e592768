"""The engine that runs stages into a run folder, each once, and goes on where a kill stopped it.

A stage is a function from a configuration and upstream folders to files and figures. The engine
gives it a folder that becomes visible only when it is finished, and a hash of everything that went
in decides whether a finished one still stands. So a run that is killed and started again loses at
most the stage in progress, and ends in the same figures.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from platform import python_version
from typing import Any

from pydantic import BaseModel

from envs.errors import UserError, nearest
from envs.files import atomic_folder, write_json
from envs.progress import Progress
from experiments.config_io import config_as_dict
from experiments.console import Console, plain
from experiments.followers import Leader, check_launch, follow, lonely_launch
from experiments.run_folder import (
    METRICS,
    RECORD,
    WORK,
    claim,
    digest,
    discard,
    finished,
    hold,
    manifest,
    sweep,
)
from sft.ranks import main_process

#: Libraries whose version is written beside a result, because it can change the result.
LIBRARIES = ("shelftalk", "torch", "trl", "ray", "transformers", "peft", "gymnasium", "numpy")


@dataclass(frozen=True)
class StageContext:
    """What a stage function gets."""

    config: Any
    """The whole configuration; a stage reads only the sections that it names."""
    out: Path
    """Write results here. A temporary folder that becomes ``RUN/STAGE`` at the end: keep no
    path into it."""
    work: Path
    """Survives a kill until the stage is finished: checkpoints, to go on from. Empty whenever the
    inputs are other than those it was filled from."""
    inputs: Mapping[str, Path]
    """The finished folder of each stage in ``needs``."""
    metrics_of: Callable[[str], dict[str, Any]]
    """The figures of a stage in ``needs``."""
    seed: int
    """In [0, 2^31), from the run's seed and the stage's name; stable across machines."""
    progress: Progress
    say: Callable[[str], None]
    warn: Callable[[str], None]
    """Show a warning and keep it in ``metrics.json`` and for the report."""


def _no_files(config: Any) -> Sequence[Path]:
    return ()


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline and everything that its result depends on."""

    name: str
    run: Callable[[StageContext], Mapping[str, Any]]
    """Writes into ``out`` and returns figures."""
    sections: tuple[str, ...] = ()
    """Names of the configuration's attributes that it reads."""
    needs: tuple[str, ...] = ()
    """Names of earlier stages whose folder or figures it reads."""
    files: Callable[[Any], Sequence[Path]] = _no_files
    """From the configuration, the files and folders outside the run folder that it reads."""
    together: bool = False
    """Whether all processes of a launch run it; only the main one's figures and files count."""


@cache
def library_versions() -> dict[str, str]:
    """Return the version of Python and of each of `LIBRARIES`, none of which is imported for it."""
    return {"python": python_version()} | {name: version(name) for name in LIBRARIES}


def stage_seed(run_seed: int, name: str) -> int:
    """Return the seed of a stage, in [0, 2^31): independent between stages and run seeds."""
    word = hashlib.sha256(f"{run_seed}/{name}".encode()).digest()[:4]
    return int.from_bytes(word, "big") >> 1


def run_stages(
    stages: Sequence[Stage],
    config: BaseModel,
    run_folder: Path,
    only: str | None = None,
    fresh: bool = False,
    until: str | None = None,
    *,
    console: Console,
) -> dict[str, Any]:
    """Run the stages that are not finished yet; return what ``metrics.json`` then holds.

    ``config`` has the attributes ``name: str`` and ``seed: int`` beside the stages' sections.
    With ``only`` that stage is run again and no other. With ``until`` the run ends with that stage
    and leaves out what it does not need. With ``fresh`` everything that is about to be run starts
    over, checkpoints included.

    The result is ``{STAGE: metrics, ..., "seconds": {STAGE: s}, "warnings": ["STAGE: line"]}``
    over the stages that are finished under this configuration.

    Of several processes that a launcher started only the main one returns; the others run the
    stages that are `together` and then end.

    Raises:
        UserError: an outside file is missing, ``only`` is unknown or lacks its inputs, the folder
            holds something else, or another run is using it. Nothing was run then. Whatever a
            stage raises goes through, and the stage leaves nothing but its ``work``.
    """
    if not main_process():
        follow(stages, lambda stage, order: _told(config, run_folder, stage, order))
    leader = Leader()
    with leader.leading():
        return _lead(stages, config, run_folder, only, fresh, until, console, leader)


def _lead(
    stages: Sequence[Stage], config: BaseModel, run_folder: Path, only: str | None, fresh: bool,
    until: str | None, console: Console, leader: Leader,
) -> dict[str, Any]:  # fmt: skip
    _check(stages, only)
    hashes = _hashes(stages, config)
    with hold(run_folder):
        marker = {
            "version": library_versions()["shelftalk"],
            "name": _setting(config, "name"),
            "config": config_as_dict(config),
        }
        claim(run_folder, marker, hashes)
        sweep(run_folder, hashes)
        run = _Run(config, run_folder, hashes, console, leader)
        wanted = _upstream(stages, until)
        todo = [s for s in stages if only in (None, s.name) and s.name in wanted]
        if only is not None:
            run.require_inputs(todo[0])
        check_launch(todo, stages)
        if told := lonely_launch():
            console.warn(told)
        if fresh:
            run.start_over(todo)
        run.write_metrics()
        for stage in todo:
            run.advance(stage, again=only is not None)
        stale = [name for name in hashes if name not in run.done and (run_folder / name).exists()]
        if stale:
            console.say(f"out of date now: {', '.join(stale)}; run without --only to renew")
        return run.metrics()


def _check(stages: Sequence[Stage], only: str | None) -> None:
    known: set[str] = set()
    for stage in stages:
        if missing := set(stage.needs) - known:
            raise ValueError(f"stage {stage.name!r} needs {missing}, which no earlier stage makes")
        if stage.name in known | {"seconds", "warnings"} or not stage.name.isidentifier():
            raise ValueError(f"{stage.name!r} is no fit name for a stage")
        known.add(stage.name)
    if only is not None and only not in known:
        names = [stage.name for stage in stages]
        hint = nearest(only, names) or f" The stages are {', '.join(names)}."
        raise UserError(f"--only {only}: no such stage.{hint}")


def _upstream(stages: Sequence[Stage], until: str | None) -> set[str]:
    """Return the names of ``until`` and of all it needs; of every stage without one."""
    if until is None:
        return {stage.name for stage in stages}
    wanted = {until}
    for stage in reversed(stages):  # stages come in order of need
        if stage.name in wanted:
            wanted |= set(stage.needs)
    return wanted


def _setting(config: BaseModel, name: str) -> Any:
    value = attrgetter(name)(config)
    return config_as_dict(value) if isinstance(value, BaseModel) else plain(value)


def _hashes(stages: Sequence[Stage], config: BaseModel) -> dict[str, str]:
    """Return for each stage the hash of all that goes into it, upstream hashes included."""
    hashes: dict[str, str] = {}
    for stage in stages:
        inputs = {
            "stage": stage.name,
            "sections": {name: _setting(config, name) for name in stage.sections},
            "seed": _setting(config, "seed"),
            "upstream": {name: hashes[name] for name in stage.needs},
            "files": [digest(path) for path in stage.files(config)],
            "version": library_versions()["shelftalk"],
        }
        text = json.dumps(inputs, sort_keys=True, allow_nan=False)
        hashes[stage.name] = hashlib.sha256(text.encode()).hexdigest()
    return hashes


def _metrics_for(stage: Stage, needed: Mapping[str, Any], name: str) -> dict[str, Any]:
    if name not in needed:
        raise KeyError(f"stage {stage.name!r} asks for {name!r}, which is not in its needs")
    return needed[name]


def _told(
    config: BaseModel, run_folder: Path, stage: Stage, order: Mapping[str, Any]
) -> StageContext:
    """Return the context of a stage that the main process called; nobody hears what it says."""
    unheard = Console(quiet=True)
    return StageContext(
        config=config,
        out=Path(order["out"]),
        work=Path(order["work"]),
        inputs={name: run_folder / name for name in stage.needs},
        metrics_of=lambda name: _metrics_for(stage, order["metrics"], name),
        seed=stage_seed(_setting(config, "seed"), stage.name),
        progress=unheard.progress(stage.name),
        say=unheard.say,
        warn=unheard.warn,
    )


class _Run:
    """One call of `run_stages`, with the folder held: which stages are done, and their records."""

    def __init__(
        self, config: BaseModel, folder: Path, hashes: dict[str, str], console: Console,
        leader: Leader,
    ) -> None:  # fmt: skip
        self._config, self._folder, self._hashes, self._console = config, folder, hashes, console
        self._leader = leader
        found = {name: finished(folder / name, hash_) for name, hash_ in hashes.items()}
        self.done = {name: record for name, record in found.items() if record}

    def require_inputs(self, stage: Stage) -> None:
        for name in stage.needs:
            if name not in self.done:
                met = (
                    "of other settings or damaged" if (self._folder / name).exists() else "missing"
                )
                raise UserError(
                    f"--only {stage.name}: its input {name!r} in {self._folder} is {met}; make it "
                    f"with `shelftalk run CONFIG --out {self._folder} --only {name}`, or run "
                    "without --only."
                )

    def start_over(self, stages: Sequence[Stage]) -> None:
        for stage in reversed(stages):
            self.done.pop(stage.name, None)
            discard(self._folder / WORK / stage.name, self._folder)
            discard(self._folder / stage.name, self._folder)

    def advance(self, stage: Stage, again: bool) -> None:
        """Run the stage unless it is done, and bring ``metrics.json`` up to it."""
        if stage.name in self.done and not again:
            self._console.say(f"{stage.name}: finished before, kept")
        else:
            self.done.pop(stage.name, None)
            self.done[stage.name] = self._run(stage)
            self.write_metrics()
        discard(self._folder / WORK / stage.name, self._folder)

    def _run(self, stage: Stage) -> dict[str, Any]:
        console, started = self._console, time.perf_counter()
        needed = {name: self.done[name]["metrics"] for name in stage.needs}
        warned = len(console.warnings)
        seed = stage_seed(_setting(self._config, "seed"), stage.name)
        with (
            console.stage(stage.name),
            atomic_folder(self._folder / stage.name) as out,
        ):
            context = StageContext(
                config=self._config,
                out=out,
                work=self._work(stage.name),
                inputs={name: self._folder / name for name in stage.needs},
                metrics_of=lambda name: _metrics_for(stage, needed, name),
                seed=seed,
                progress=console.progress(stage.name),
                say=console.say,
                warn=console.warn,
            )
            with self._leader.calling(stage, context, needed):
                metrics = stage.run(context)
            record = {
                "stage": stage.name,
                "status": "done",
                "inputs_hash": self._hashes[stage.name],
                "seed": seed,
                "versions": library_versions(),
                "seconds": round(time.perf_counter() - started, 3),
                "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "metrics": plain(metrics),
                "warnings": console.warnings[warned:],
                "files": manifest(out),
            }
            write_json(out / RECORD, record)
        return record

    def _work(self, name: str) -> Path:
        """Return the stage's work folder for these inputs; that of other inputs goes."""
        shelf = self._folder / WORK / name
        work = shelf / self._hashes[name][:16]
        shelf.mkdir(parents=True, exist_ok=True)
        for other in shelf.iterdir():
            if other != work:
                discard(other, self._folder)
        work.mkdir(exist_ok=True)
        return work

    def metrics(self) -> dict[str, Any]:
        records = {name: self.done[name] for name in self._hashes if name in self.done}
        return {
            **{name: record["metrics"] for name, record in records.items()},
            "seconds": {name: record["seconds"] for name, record in records.items()},
            "warnings": [
                f"{name}: {line}" for name, record in records.items() for line in record["warnings"]
            ],
        }

    def write_metrics(self) -> None:
        write_json(self._folder / METRICS, self.metrics())
