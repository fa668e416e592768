"""A bundle's ranker learned anew from a feedback log, and judged on visits that it did not see.

Both rankers, the one before and the one after, are valued off-policy on the held-out visits: their
slates sampled by Plackett-Luce at one temperature, the same pages, the same resamples.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.errors import UserError
from envs.feedback import read_feedback
from experiments.console import Console, StrictVerdict
from experiments.ope.bundle_target import page_chances, served_temperature
from experiments.ope.compare import Comparison, compare
from policies.baselines import scorer_logits
from policies.bundle import Bundle, load_bundle
from policies.bundle_files import Retrained
from policies.bundle_retrain import require_new, write_retrained
from policies.logging_policies import PlackettLuce
from policies.ranker.config import WarmStartConfig
from policies.ranker.from_log import Rebuilt, learn, rebuild
from policies.ranker.scorer import SlateScorer, load_scorer

#: Visits that a side of the split must have at least.
_LEAST = 20
BEFORE, AFTER = "before", "after"

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class RetrainOptions:
    """How to learn from a log, and how to judge what was learned."""

    #: Share of the visits that is held out.
    held_out: float = 0.3
    #: Of the Plackett-Luce slates that are compared; None takes that of the log
    #: (`served_temperature`), or 1.
    temperature: float | None = None
    #: Values the rankers (`experiments.ope.registry`).
    estimator: str = "SNIIPS"
    fit: WarmStartConfig = field(default_factory=WarmStartConfig)
    #: Of the split, the fit and the bootstrap.
    seed: int = 0
    #: Whether to write nothing where the log does not tell the rankers apart, or for the worse.
    strict: bool = False

    def __post_init__(self) -> None:
        """Check the temperature; raises a UserError."""
        if self.temperature is not None:
            PlackettLuce(self.temperature)


def retrain(
    folder: Path, log: Path, out: Path, options: RetrainOptions, console: Console
) -> dict[str, Any]:
    """Write a bundle with a ranker learned from a log.

    Args:
        folder: the bundle to start from.
        log: a feedback log with ``candidates`` (`policies.bundle_logged`).
        out: folder of the new bundle.
        options: see there.
        console: told of progress.

    Returns:
        ``bundle`` (the id of the new one), ``pages``, ``dropped``, ``temperature``,
        ``learned_from`` and ``held_out`` (visits), ``verdict`` and ``comparison``
        (`Comparison.as_dict`).

    Raises:
        UserError: bundle or log cannot be used, or too few visits came back.
        StrictVerdict: under ``strict``, where the new ranker is not shown to be better.
    """
    require_new(out)
    bundle, scorer = load_bundle(folder), load_scorer(folder / "ranker")
    frame = read_feedback(log).reset_index(drop=True)
    rule = PlackettLuce(options.temperature or served_temperature(frame) or 1.0)
    with console.stage("pages"):
        found = rebuild(frame, bundle, progress=console.progress("pages"))
    found = _newest(found, frame, options.fit.slates)
    ours, theirs = _split(found, frame, options)
    with console.stage("fit"):
        pages = ours.laid_out(frame["reward"].to_numpy(dtype=np.float32))
        new = learn(scorer, pages, options.fit, options.seed)
    with console.stage("ope"):
        compared = _compared(theirs, frame, bundle, (scorer, new), rule, options)
    pair = next(one for one in compared.pairs if {one.a, one.b} == {BEFORE, AFTER})
    if options.strict and pair.verdict != f"{AFTER} is better than {BEFORE}":
        raise StrictVerdict(f"{log}: {pair.verdict}; no bundle is written")
    logged = frame.iloc[found.rows]
    sessions = logged["session_id"].nunique()
    told = Retrained(
        bundle=f"{bundle.manifest.name} ({bundle.id})",
        impressions=len(logged), slates=len(found.pages), sessions=sessions,
        first=_time(logged, "min"), last=_time(logged, "max"),
        logging_policies=_policies(logged), dropped=found.dropped,
        held_out=frame.iloc[theirs.rows]["session_id"].nunique(),
        temperature=rule.temperature, verdict=pair.verdict,
    )  # fmt: skip
    manifest = write_retrained(folder, out, new, told, _figures(compared, pair.verdict))
    return {
        "bundle": load_bundle(out, verify=False).id,
        "name": manifest.name,
        "pages": len(found.pages),
        "dropped": found.dropped,
        "temperature": rule.temperature,
        "learned_from": sessions - told.held_out,
        "held_out": told.held_out,
        "verdict": pair.verdict,
        "comparison": compared.as_dict(),
    }


def _newest(found: Rebuilt, frame: pd.DataFrame, most: int) -> Rebuilt:
    """Return the newest pages, if there are more than ``most``."""
    if len(found.pages) <= most or "timestamp" not in frame:
        return found.part(np.arange(min(most, len(found.pages))))
    shown = frame["timestamp"].to_numpy()[[one.rows[0] for one in found.pages]]
    return found.part(np.sort(np.argsort(shown, kind="stable")[-most:]))


def _split(found: Rebuilt, frame: pd.DataFrame, options: RetrainOptions) -> tuple[Rebuilt, Rebuilt]:
    """Return the pages to learn from and those held out: whole visits, drawn at random."""
    of_page = frame["session_id"].to_numpy()[[one.rows[0] for one in found.pages]]
    codes, names = pd.factorize(of_page)
    count = len(names)
    kept = round(options.held_out * count)
    if min(kept, count - kept) < _LEAST:
        needed = ceil(_LEAST / min(options.held_out, 1 - options.held_out))
        raise UserError(
            f"retrain: {count} visits came back; at least {_LEAST} to learn from and {_LEAST} to "
            f"hold out are needed, so collect {needed} or more (of which --held-out "
            f"{options.held_out:g} are held out)"
        )
    chosen = np.random.default_rng((options.seed, 0)).permutation(count)[:kept]
    held = np.isin(codes, chosen)
    return found.part(np.flatnonzero(~held)), found.part(np.flatnonzero(held))


def _compared(
    held: Rebuilt, frame: pd.DataFrame, bundle: Bundle, scorers: tuple[SlateScorer, SlateScorer],
    rule: PlackettLuce, options: RetrainOptions,
) -> Comparison:  # fmt: skip
    columns = {}
    for name, scorer in zip((BEFORE, AFTER), scorers):
        target = replace(bundle, logits=partial(scorer_logits, scorer))
        for kind, values in page_chances(held.pages, target, rule, len(frame)).items():
            columns[f"{name}_{kind}"] = values
    rows = np.sort(held.rows)
    return compare(
        frame.assign(**columns).iloc[rows].reset_index(drop=True), [BEFORE, AFTER],
        options.estimator, rng=np.random.default_rng((options.seed, 1)),
    )  # fmt: skip


def _figures(compared: Comparison, verdict: str) -> dict[str, Any]:
    """Return the estimates as manifest and card have them."""
    rows = [
        one.estimate.as_dict() | {"estimator": f"{compared.estimator} of {one.target}"}
        for one in compared.policies
    ]
    return {"estimates": rows, "verdict": verdict}


def _time(logged: pd.DataFrame, which: str) -> str:
    if "timestamp" not in logged or not len(logged):
        return ""
    seconds = float(getattr(logged["timestamp"], which)())
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _policies(logged: pd.DataFrame) -> tuple[str, ...]:
    if "logging_policy" not in logged:
        return ()
    return tuple(sorted(map(str, logged["logging_policy"].dropna().unique())))
