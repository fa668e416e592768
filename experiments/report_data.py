"""A run folder as a typed view for the report; whatever is missing is None or empty.

Every part stands alone: one that does not have the agreed form is left out and named in
``problems``, because a report of the rest is worth more than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from envs.errors import UserError
from envs.files import read_json
from experiments.run_folder import MARKER, METRICS, RECORD

T = TypeVar("T")
Row = dict[str, Any]
#: A learning curve by the name of its phase; a curve of one phase has the name "".
Curves = dict[str, list[Row]]

#: The stage that is being made while its own earlier folder is still there.
REPORT = "report"
CONFIG_FILES = ("config.json", "config.yaml", "config.yml")


class Part(BaseModel):
    """A part of a run; fields that it does not know are kept and not shown."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Interval(Part):
    """A mean and its 95 % interval."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


class Catalogue(Part):
    """What the shop sold, and to whom."""

    notes: list[str] = []
    dropped: dict[str, int] = {}


class Ppo(Part):
    """What reinforcement learning did to the reasons, on held-out prompts."""

    reward_before: float | None = None
    reward_after: float | None = None
    reward_fallback: float | None = None
    gain: Interval | None = None
    held_out_gain: Interval | float | None = None
    kl: float | None = None
    claim_precision_before: float | None = None
    claim_precision_after: float | None = None
    distinct2_before: float | None = None
    distinct2_after: float | None = None
    veto_rate_before: float | None = None
    veto_rate_after: float | None = None
    words_before: float | None = None
    words_after: float | None = None
    claims_before: float | None = None
    claims_after: float | None = None
    unique_share_before: float | None = None
    unique_share_after: float | None = None
    unit: str = "units of reward"


class Written(Part):
    """The texts of one book of reasons."""

    texts: int = 0
    fallbacks: int = 0
    vetoes: dict[str, int] = {}


class Reasons(Part):
    """The books of reasons that the shelves were simulated with."""

    sft: Written | None = None
    ppo: Written | None = None


class Paired(Part):
    """The paired difference ``a`` minus ``b`` over the same sessions, with its 95 % interval."""

    a: str
    b: str
    metric: str
    diff: float
    low: float
    high: float

    def against(self, name: str) -> Paired:
        """Return the same difference with ``name`` as the one that is taken off."""
        if self.a != name:
            return self
        turned = {"a": self.b, "b": self.a, "diff": -self.diff, "low": -self.high}
        return self.model_copy(update=turned | {"high": -self.low})


class Simulation(Part):
    """The paired simulation."""

    policies: dict[str, dict[str, Interval]] = {}
    paired: list[Paired] = []
    sessions: int | None = None
    share_of_oracle: float | None = None
    """How much of the way from the similarity shelf to the oracle the ranker covers."""


class Estimate(Part):
    """One estimator's value of the target policy, per slate."""

    estimator: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    ess: float | None = None
    max_weight: float | None = None
    n: int | None = None
    warnings: list[str] = []


class Ope(Part):
    """Offline estimates beside the simulator's own value."""

    logging: str = "logging"
    target: str = "target"
    slates: int | None = None
    truth: float | None = None
    truth_low: float | None = None
    truth_high: float | None = None
    logging_value: float | None = None
    """The logging policy's own value per slate."""
    estimates: list[Estimate] = []
    verdict: str = ""


class Export(Part):
    """The bundle that was made."""

    bundle: str = ""
    files: int | None = None
    bytes: int | None = None


class Sample(Part):
    """One item's reason, after supervised training and after PPO."""

    title: str
    likes: list[str] = []
    facts: list[tuple[str, str]] = []
    sft: str = ""
    ppo: str = ""
    fallback: str = ""
    sft_reward: float | None = None
    ppo_reward: float | None = None
    sft_veto: str | None = None
    ppo_veto: str | None = None


class Card(Part):
    """One place of a shelf."""

    item_id: str
    title: str
    brand: str | None = None
    item_class: str | None = Field(None, alias="class")
    price: float | None = None
    currency: str | None = None
    reason: str = ""
    source: str = "model"
    claims: list[str] = []
    scores: dict[str, float | None] = {}


class Shelf(Part):
    """One shopper's shelf, before and after."""

    shopper: str | int
    segment: str | int | None = None
    likes: list[str] = []
    scene: str = ""
    query: str | None = None
    anchor: str | None = None
    """The item whose page the shelf stands on."""
    before: list[Card] = []
    after: list[Card] = []


class StageRecord(Part):
    """What the engine wrote about a finished stage."""

    status: str = ""
    inputs_hash: str = ""
    seed: int | None = None
    versions: dict[str, str] = {}
    seconds: float | None = None
    metrics: dict[str, Any] = {}
    finished_at: str = ""


@dataclass(frozen=True)
class Run:
    """Everything that a report shows."""

    name: str
    folder: Path
    config: dict[str, Any] | None
    stages: dict[str, StageRecord]
    catalogue: Catalogue | None
    sft: dict[str, Any] | None
    ppo: Ppo | None
    reasons: Reasons | None
    rank: dict[str, Any] | None
    simulate: Simulation | None
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
        ppo=reader.part(TypeAdapter(Ppo), "ppo"),
        reasons=reader.part(TypeAdapter(Reasons), "reasons"),
        rank=reader.part(TypeAdapter(dict[str, Any]), "rank"),
        simulate=reader.part(TypeAdapter(Simulation), "simulate"),
        ope=reader.part(TypeAdapter(Ope), "ope"),
        export=reader.part(TypeAdapter(Export), "export"),
        curves={stage: found for stage in ("sft", "ppo", "rank") if (found := reader.curve(stage))},
        samples=reader.of_stage(TypeAdapter(list[Sample]), "ppo", "samples.json") or [],
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

    def part(self, adapter: TypeAdapter[T], name: str) -> T | None:
        """Return one entry of ``metrics.json``; an empty one is as good as none."""
        return self._fit(adapter, self.metrics.get(name) or None, f"{METRICS}: {name}")

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
