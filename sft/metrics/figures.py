"""What a metric's value is, which way is better, and which floors it must beat to mean anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_LEVEL = 0.95


@dataclass(frozen=True)
class Figure:
    """A value, with its 95 % interval where it is a mean of rows."""

    value: float
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, float]:
        """Return ``{value}`` or ``{value, low, high}``."""
        if self.low is None or self.high is None:
            return {"value": self.value}
        return {"value": self.value, "low": self.low, "high": self.high}


def clustered_mean(values: F64, clusters: I64) -> Figure:
    """Mean of n values with its 95 % interval, rows of one cluster not counted as independent.

    se² = G/(G-1) · sum_g (sum_{i in g} (v_i - mean))² / n², Student t with G - 1 degrees (Liang and
    Zeger 1986); with every row its own cluster it is the ordinary interval. Below two clusters
    there is no interval.

    Args:
        values: (n,), n > 0.
        clusters: cluster number of each row, (n,).
    """
    mean = float(values.mean())
    _, member = np.unique(clusters, return_inverse=True)
    sums = np.bincount(member, values - mean)
    groups = len(sums)
    if groups < 2:
        return Figure(mean)
    error = float(np.sqrt(groups / (groups - 1) * (sums @ sums))) / len(values)
    half = float(stats.t.ppf(0.5 + _LEVEL / 2, groups - 1)) * error
    return Figure(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Metric:
    """How to read a metric."""

    #: What it is, in a few words.
    about: str
    #: 1 where higher is better, -1 where lower is, 0 where neither is.
    better: int
    #: Floors that the texts must beat: level with them, the metric is no evidence for the texts.
    beats: tuple[str, ...] = ()


_OVERLAP = ("fixed", "shuffled")

#: Every metric by name, in the order they are shown.
METRICS: dict[str, Metric] = {
    "bleu": Metric("BLEU-4, %", 1, _OVERLAP),
    "chrf": Metric("chrF2, %", 1, _OVERLAP),
    "rouge1": Metric("ROUGE-1 F1, %", 1, _OVERLAP),
    "rouge2": Metric("ROUGE-2 F1, %", 1, _OVERLAP),
    "rougeL": Metric("ROUGE-L F1, %", 1, _OVERLAP),
    "bertscore": Metric("BERTScore F1, -1 to 1", 1, _OVERLAP),
    "usr": Metric("different texts / texts", 1),
    "distinct1": Metric("different words / words", 1),
    "distinct2": Metric("different word pairs / pairs", 1),
    "self_bleu": Metric("BLEU-4 against the other texts, %", -1),
    "fmr": Metric("texts that name their target feature", 1, _OVERLAP),
    "fcr": Metric("features named by any text", 1),
    "div": Metric("features that two texts share", -1),
    "claims_per_text": Metric("distinct claims of a text", 0),
    "claim_precision": Metric("claims that the item supports", 1, ("shuffled",)),
    "hallucination_rate": Metric("texts with an unsupported claim", -1, ("shuffled",)),
    "claim_recall": Metric("true claims of the reference restated", 1, _OVERLAP),
    "profile_match": Metric("texts that state what the shopper likes", 1),
    "profile_match_control": Metric("the same with another row's likes", 0),
    "profile_match_lift": Metric("match - control", 1, ("fixed", "shuffled")),
    "shopper_swap": Metric("right claims change with the shopper", 1, ("fixed", "shuffled")),
    "shopper_swap_changed": Metric("claims change with the shopper at all", 0),
    "item_swap": Metric("claims belong to their item", 1, ("fixed", "shuffled")),
    "length": Metric("words of a text (characters in Chinese)", 0),
    "readability": Metric("Flesch reading ease", 0),
    "characters_per_sentence": Metric("characters of a sentence", 0),
}


def not_above(name: str, figure: Figure, floors: Mapping[str, Figure]) -> list[str]:
    """Return the floors that the metric should beat and does not.

    With an interval, what counts is its end on the floor's side.
    """
    metric = METRICS[name]
    least = figure.value
    if figure.low is not None and figure.high is not None:
        least = figure.low if metric.better > 0 else figure.high
    return [
        floor
        for floor in metric.beats
        if floor in floors and metric.better * (least - floors[floor].value) <= 0
    ]
