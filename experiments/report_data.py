"""A run folder as a typed view for the report; whatever is missing is None or empty.

Every part stands alone: one that does not have the agreed form is left out and named in
``problems``, because a report of the rest is worth more than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from envs.errors import UserError
from envs.files import read_json
from experiments.rankers_names import FOLDER, TABLE
from experiments.report_parts import (
    Alarm,
    BestOf,
    Catalogue,
    Compared,
    Export,
    HeldOutShop,
    Ope,
    Ppo,
    Reason,
    Reasons,
    Sample,
    Shelf,
    Simulation,
    StageRecord,
    Tasks,
    TaskSample,
    Writing,
)
from experiments.report_parts_order import Horizon, Order, Rounds
from experiments.rounds_names import in_round
from experiments.run_folder import MARKER, METRICS, RECORD

T = TypeVar("T")
Row = dict[str, Any]
#: A learning curve by the name of its phase; a curve of one phase has the name "".
Curves = dict[str, list[Row]]

#: The stage that is being made while its own earlier folder is still there.
REPORT = "report"
CONFIG_FILES = ("config.json", "config.yaml", "config.yml")


@dataclass(frozen=True)
class Run:
    """Everything that a report shows."""

    name: str
    folder: Path
    config: dict[str, Any] | None
    stages: dict[str, StageRecord]
    catalogue: Catalogue | None
    sft: dict[str, Any] | None
    writing: Writing | None
    written: list[Reason]
    tasks: Tasks
    task_samples: dict[str, list[TaskSample]]
    ppo: Ppo | None
    compared: Compared | None
    #: The last of several rounds; 1 where there is but one.
    last_round: int
    #: PPO of the last round, where that is not the first.
    last_ppo: Ppo | None
    last_compared: Compared | None
    rounds: Rounds | None
    best_of: BestOf | None
    alarms: list[Alarm]
    held_out_shop: HeldOutShop | None
    reasons: Reasons | None
    rank: dict[str, Any] | None
    simulate: Simulation | None
    order: Order | None
    horizon: Horizon | None
    ope: Ope | None
    export: Export | None
    curves: dict[str, Curves]
    samples: list[Sample]
    shelves: list[Shelf]
    seconds: dict[str, float]
    warnings: list[str]
    problems: list[str]

    @property
    def versions(self) -> dict[str, str]:
        """Versions by library; several where stages ran with different ones."""
        met: dict[str, list[str]] = {}
        for record in self.stages.values():
            for library, version in record.versions.items():
                if version not in met.setdefault(library, []):
                    met[library].append(version)
        return {library: ", ".join(versions) for library, versions in met.items()}


def read_report(run: Path) -> Run:
    """Read what the run folder holds.

    Raises:
        UserError: there is no such folder, it holds nothing of a run, or its ``metrics.json``
            cannot be read.
    """
    reader = _Reader(run)
    metrics = reader.metrics
    last = reader.last_round
    # The configuration is part of the marker; a file beside it is another program's run.
    marker = reader.file(MARKER)
    marker = marker if isinstance(marker, dict) else {}
    return Run(
        name=str(marker.get("name") or run.resolve().name),
        folder=run,
        config=marker.get("config") or reader.config(),
        stages=reader.stages,
        catalogue=reader.part(TypeAdapter(Catalogue), "catalogue"),
        sft=reader.part(TypeAdapter(dict[str, Any]), "sft"),
        writing=reader.part(TypeAdapter(Writing), "sft", "writing"),
        written=reader.of_stage(TypeAdapter(list[Reason]), "sft", "samples.json") or [],
        tasks=reader.part(TypeAdapter(Tasks), "sft", "tasks") or {},
        task_samples=reader.of_stage(
            TypeAdapter(dict[str, list[TaskSample]]), "sft", "task_samples.json"
        )
        or {},
        ppo=reader.part(TypeAdapter(Ppo), "ppo"),
        compared=reader.part(TypeAdapter(Compared), "ppo", "writing"),
        last_round=last,
        last_ppo=reader.part(TypeAdapter(Ppo), in_round("ppo", last)) if last > 1 else None,
        last_compared=reader.part(TypeAdapter(Compared), in_round("ppo", last), "writing")
        if last > 1
        else None,
        rounds=reader.part(TypeAdapter(Rounds), "rounds"),
        best_of=reader.part(TypeAdapter(BestOf), "ppo", "best_of"),
        alarms=reader.part(TypeAdapter(list[Alarm]), "ppo", "training", "alarms") or [],
        held_out_shop=reader.part(TypeAdapter(HeldOutShop), "ppo", "held_out_shop"),
        # The shelves show the reasons of the last round.
        reasons=reader.part(TypeAdapter(Reasons), in_round("reasons", last))
        or reader.part(TypeAdapter(Reasons), "reasons"),
        rank=reader.part(TypeAdapter(dict[str, Any]), "rank"),
        simulate=reader.part(TypeAdapter(Simulation), "simulate"),
        order=reader.part(TypeAdapter(Order), "simulate", "order"),
        horizon=reader.horizon(),
        ope=reader.part(TypeAdapter(Ope), "ope"),
        export=reader.part(TypeAdapter(Export), "export"),
        curves={
            stage: found
            for stage in dict.fromkeys(
                ("sft", "ppo", "rank", in_round("ppo", last), in_round("rank", last))
            )
            if (found := reader.curve(stage))
        },
        samples=reader.of_stage(TypeAdapter(list[Sample]), in_round("ppo", last), "samples.json")
        or [],
        shelves=reader.of_stage(TypeAdapter(list[Shelf]), "simulate", "shelves.json") or [],
        seconds=reader.part(TypeAdapter(dict[str, float]), "seconds") or {},
        warnings=[str(line) for line in metrics.get("warnings") or []],
        problems=reader.problems,
    )


class _Reader:
    """Reads parts of one run folder and remembers what could not be read."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self.problems: list[str] = []
        # Hidden folders are what a killed stage left behind.
        records = [p for p in sorted(run.glob(f"*/{RECORD}")) if p.parent.name[0] != "."]
        if not records and not (run / METRICS).exists():
            met = "holds neither a finished stage nor" if run.is_dir() else "does not exist, so no"
            raise UserError(
                f"{run}: no run to report: the folder {met} a {METRICS}; "
                f"make one with `shelftalk run CONFIG --out {run}`."
            )
        found = {path.parent.name: self._record(path) for path in records}
        self.metrics = self._metrics({name: one for name, one in found.items() if one})
        current = self.metrics.keys() | (self.metrics.get("seconds") or {}).keys()
        self.stages = {name: one for name, one in found.items() if one and name in current}
        self.problems += [
            f"{name}: this folder is not of the run's present settings (metrics.json does not "
            "name it), so it is not shown; run again to renew it."
            for name in sorted(found.keys() - current - {REPORT})
        ]

    def _record(self, path: Path) -> StageRecord | None:
        return self._fit(TypeAdapter(StageRecord), self.file(f"{path.parent.name}/{RECORD}"), path)

    def _metrics(self, records: Mapping[str, StageRecord]) -> dict[str, Any]:
        path = self._run / METRICS
        if not path.exists():
            return {
                **{name: record.metrics for name, record in records.items()},
                "seconds": {n: r.seconds for n, r in records.items() if r.seconds is not None},
            }
        try:
            metrics = read_json(path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: no readable JSON ({error}); run the pipeline again to renew it."
            ) from None
        if not isinstance(metrics, dict):
            raise UserError(
                f"{path}: must hold an object of figures by stage, not a {type(metrics).__name__}; "
                "run the pipeline again to renew it."
            )
        return metrics

    def file(self, name: str) -> Any:
        """Return the JSON of a file, or None where it is missing or broken."""
        path = self._run / name
        try:
            return read_json(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.problems.append(f"{name}: no readable JSON ({error}), so it is not shown.")
            return None

    def config(self) -> dict[str, Any] | None:
        """Return a configuration file that lies in the run folder, if one does."""
        for name in CONFIG_FILES:
            path = self._run / name
            if path.exists():
                try:
                    found = yaml.safe_load(path.read_text(encoding="utf-8"))
                except (OSError, ValueError, yaml.YAMLError):
                    found = None
                if isinstance(found, dict):
                    return found
                self.problems.append(f"{name}: no readable settings, so they are not shown.")
        return None

    def part(self, adapter: TypeAdapter[T], *names: str) -> T | None:
        """Return the entry of ``metrics.json`` under these keys; an empty one is as good as none.

        An inner entry stands alone too: a broken one does not take its stage with it.
        """
        found: Any = self.metrics
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return self._fit(adapter, found or None, f"{METRICS}: {'.'.join(names)}")

    def horizon(self) -> Horizon | None:
        """Return what `shelftalk rankers` found of looking ahead, where it ran in this folder."""
        name = f"{FOLDER}/{METRICS}"
        found: Any = self.file(name)
        for key in (TABLE, "horizon"):
            found = found.get(key) if isinstance(found, dict) else None
        return self._fit(TypeAdapter(Horizon), found, f"{name}: {TABLE}.horizon")

    @property
    def last_round(self) -> int:
        """Number of the last round whose PPO is finished, 1 where there is but one."""
        numbers = [re.fullmatch(r"ppo(\d+)", name) for name in self.metrics]
        return max([int(found[1]) for found in numbers if found], default=1)

    def of_stage(self, adapter: TypeAdapter[T], stage: str, name: str) -> T | None:
        """Return a file of a stage, if the stage is finished under the present settings."""
        known = stage in self.metrics or stage in self.stages
        return self._fit(
            adapter, self.file(f"{stage}/{name}") if known else None, f"{stage}/{name}"
        )

    def curve(self, stage: str) -> Curves:
        """Return a stage's learning curve: a list of rows, or such lists by phase."""
        rows = TypeAdapter[list[Row] | Curves](list[Row] | Curves)
        found = self.of_stage(rows, stage, "curve.json") or {}
        return {"": found} if isinstance(found, list) else found

    def _fit(self, adapter: TypeAdapter[T], value: Any, where: object) -> T | None:
        if value is None:
            return None
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"]))
            self.problems.append(
                f"{where}: {at}: {first['msg']}, not {first['input']!r:.60}; it is not shown."
            )
            return None
