"""The panel: held-out prompts that writers are compared on, and the same asked for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.assemble import Visitors
from experiments.config import MeasureConfig
from policies.reasoner.book import prompts_for
from policies.reasoner.config import PpoConfig
from policies.reasoner.generate import generate_many
from policies.reasoner.sampling import Sampling

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Panel:
    """Held-out prompts, each ``samples`` times in a row: n = prompts · samples rows."""

    #: Item and segment of each row, (n,) int64.
    items: I64
    segments: I64
    prompts: list[str]
    samples: int
    #: Another segment of each row, (n,) int64; its own where the shop has no other.
    others: I64
    #: The prompts for the other segment, about the same items.
    other_prompts: list[str]

    @property
    def count(self) -> int:
        """Number of prompts."""
        return len(self.prompts) // self.samples

    @property
    def prompt_items(self) -> I64:
        """Item of each prompt, (prompts,) int64."""
        return self.items[:: self.samples]

    def per_prompt(self, values: NDArray[np.float32] | F64) -> F64:
        """Mean over the samples of each prompt, (prompts,)."""
        return values.reshape(-1, self.samples).mean(axis=1).astype(np.float64)


@dataclass(frozen=True)
class Said:
    """What one writer says: n texts for the panel's readers, and n for the others."""

    texts: list[str]
    other_texts: list[str]


#: Turns n prompts into n texts; called with the prompts and the seed of what is random.
Writer = Callable[[list[str], int], list[str]]


def draw_panel(
    measure: MeasureConfig, visitors: Visitors, items: I64, rng: np.random.Generator
) -> Panel:
    """Draw (item, segment) pairs of the given items, and for each another segment.

    Args:
        measure: how many prompts, and samples of each.
        visitors: the catalogue and its segments.
        items: held-out item indexes, (H,) int64.
        rng: draws the pairs.
    """
    catalogue, profiles, samples = visitors.catalogue, visitors.profiles, measure.samples
    count = profiles.n_segments
    shown = np.repeat(rng.choice(items, measure.prompts), samples)
    drawn = rng.integers(count, size=measure.prompts)
    further = rng.integers(1, count, size=measure.prompts) if count > 1 else np.zeros_like(drawn)
    segments, others = (np.repeat(s, samples) for s in (drawn, (drawn + further) % count))
    return Panel(
        items=shown,
        segments=segments,
        prompts=prompts_for(catalogue, profiles, shown, segments),
        samples=samples,
        others=others,
        other_prompts=prompts_for(catalogue, profiles, shown, others),
    )


def sampler(model: Any, tokenizer: Any, config: PpoConfig, copies: int) -> Writer:
    """Return a model as a writer that samples as it does in reinforcement learning.

    Every prompt must stand ``copies`` times in a row, as in a panel: it is read once.
    """

    def write(prompts: list[str], seed: int) -> list[str]:
        sampling = Sampling(config.max_new_tokens, config.temperature, seed=seed)
        written = generate_many(model, tokenizer, prompts[::copies], sampling, copies=copies)
        return [text for texts in written for text in texts]

    return write


def ask(write: Writer, panel: Panel, seed: int) -> Said:
    """Let a writer write for the panel's readers and, with the same random numbers, for the others.

    So the two texts of a row differ by the reader alone.
    """
    return Said(write(panel.prompts, seed), write(panel.other_prompts, seed))
