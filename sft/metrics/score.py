"""All metrics of a set of texts beside those of its floors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.catalogue import Catalogue
from envs.progress import Progress, silent
from sft.metrics.bertscore import Encoder
from sft.metrics.figures import METRICS, Figure, not_above
from sft.metrics.floors import derangement, fixed_sentence
from sft.metrics.meter import Meter, Rows


@dataclass(frozen=True)
class Scores:
    """Metrics of the texts and of each floor."""

    texts: dict[str, Figure]
    #: By floor (``fixed``, ``shuffled``, and those handed in), then by metric.
    floors: dict[str, dict[str, Figure]]
    fixed_sentence: str
    notes: list[str]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return metric -> ``{value, low?, high?, about, better, floors: {floor -> value}}``."""
        return {
            name: {
                **figure.as_dict(),
                "about": METRICS[name].about,
                "better": {1: "higher", -1: "lower", 0: "neither"}[METRICS[name].better],
                "floors": {
                    floor: figures[name].value
                    for floor, figures in self.floors.items()
                    if name in figures
                },
            }
            for name, figure in self.texts.items()
        }


def _about(meter: Meter, scores: Mapping[str, Figure]) -> Iterator[str]:
    """Say what the figures do not say by themselves."""
    if "self_bleu" in scores:
        yield f"self_bleu is over {len(meter.sample):,} random texts"
    if "item_swap" in scores:
        yield f"item_swap is over {len(meter.swaps):,} random pairs"
    if "fmr" in scores:
        share = meter.feature_in_prompt()
        if share is None:
            yield (
                "fmr is no evidence if the writer's prompt named the target feature; give column "
                "'prompt' to have that checked"
            )
        elif share > 0:
            yield (
                f"fmr is no evidence here: the prompt names the target feature in {share:.0%} of "
                "the rows, and a copy of the prompt would match it"
            )


def _lost(texts: Mapping[str, Figure], floors: Mapping[str, Mapping[str, Figure]]) -> Iterator[str]:
    """Name the metrics by which a floor is as good as the texts."""
    for name, figure in texts.items():
        beside = {floor: each[name] for floor, each in floors.items() if name in each}
        for floor in not_above(name, figure, beside):
            yield (
                f"{name} does not beat the floor {floor!r} ({figure.value:.4g} against "
                f"{beside[floor].value:.4g}): it is no evidence for these texts"
            )


def score_texts(
    rows: Rows,
    families: Sequence[str],
    rng: np.random.Generator,
    catalogue: Catalogue | None = None,
    more_floors: Mapping[str, Sequence[str]] | None = None,
    encoder: Encoder | None = None,
    progress: Progress = silent,
) -> Scores:
    """Measure texts and their floors.

    The floors are ``fixed``, one sentence said of everything (see `fixed_sentence`; without
    references the most frequent text); ``shuffled``, each row's reference given to another row; and
    those handed in.

    Args:
        rows: the texts, n > 0.
        families: which metrics (see `sft.metrics.meter.possible_families`).
        rng: draws samples, pairs and shuffles.
        catalogue: facts of the items that ``rows.items`` points into.
        more_floors: n texts by name.
        encoder: for BERTScore.
        progress: counts sets of texts.
    """
    count, references = len(rows.texts), rows.references
    meter = Meter(rows, families, rng, catalogue, encoder)
    if references is None:
        fixed = Counter(rows.texts).most_common(1)[0][0]
    else:
        fixed = fixed_sentence(references, rows.locale, rng)
    sets: dict[str, Sequence[str]] = {"": rows.texts, "fixed": [fixed] * count}
    if references is not None and count > 1:
        sets["shuffled"] = [references[row] for row in derangement(count, rng)]
    sets.update(more_floors or {})
    measured: dict[str, dict[str, Figure]] = {}
    for name, texts in sets.items():
        progress(len(measured), len(sets), {})
        measured[name] = meter.measure(texts)
    own = measured.pop("")
    progress(len(sets), len(sets), {})
    return Scores(own, measured, fixed, [*_about(meter, own), *_lost(own, measured)])
