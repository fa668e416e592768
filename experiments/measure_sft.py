"""The SFT stage measures itself: fresh texts for held-out items, before any reinforcement."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.assemble import Visitors
from envs.files import write_json
from experiments.config import Config
from experiments.measure_panel import Said, ask, draw_panel, sampler
from experiments.measure_samples import samples
from experiments.measure_tasks import measure_tasks
from experiments.measure_writing import Judge, Measured
from experiments.stages import StageContext
from policies.reasoner.generate import load_reasoner
from rewards.claims import ClaimChecker
from sft.corpus import Corpus
from sft.metrics.floors import fixed_sentence

#: Claim precision that supervised training should reach by itself.
PRECISE = 0.95


def measure_sft(
    context: StageContext, visitors: Visitors, checker: ClaimChecker, corpus: Corpus
) -> dict[str, Any]:
    """Measure the writer in ``context.out`` and write ``samples.json`` there.

    Texts are sampled at the temperature of PPO, which starts from that policy.

    Returns:
        ``writing``: the panel's sizes, ``figures`` (metric -> ``{value, low, high}``), ``vetoes``
        (share of the texts by reason) and the same figures of the ``floors``: ``fixed`` (one
        sentence said of everything) and ``fallback`` (the rule-based writer). ``tasks``: figures
        of `measure_tasks`, where the corpus has further tasks; their samples are written to
        ``task_samples.json``.
    """
    config: Config = context.config
    # The panel of the PPO stage: its figures "before" are of the same prompts.
    rng = np.random.default_rng([config.seed, 2])
    panel = draw_panel(config.measure, visitors, corpus.held_items, rng)
    judge = Judge(visitors, checker, panel, rng)
    model, tokenizer = load_reasoner(context.out)
    context.say(f"writing {2 * len(panel.prompts):,} reasons for held-out items")
    said = ask(sampler(model, tokenizer, config.ppo, panel.samples), panel, context.seed)
    measured = judge.measure(said)
    references = [pair.completion.strip() for pair in corpus.held]
    fixed = fixed_sentence(references, visitors.catalogue.locale, rng)
    count = len(panel.prompts)
    floors = {"fixed": Said([fixed] * count, [fixed] * count), "fallback": judge.rules(rng)}
    write_json(context.out / "samples.json", samples(visitors, panel, said, measured))
    _warn_about(context, measured)
    found: dict[str, Any] = {
        "writing": {
            "temperature": config.ppo.temperature,
            "prompts": count // panel.samples,
            "samples": panel.samples,
            "items": len(np.unique(panel.items)),
            "figures": measured.as_dict(),
            "vetoes": measured.veto_shares(),
            "floors": {name: judge.measure(texts).as_dict() for name, texts in floors.items()},
            "fixed_sentence": fixed,
        }
    }
    tasks = measure_tasks(
        model, tokenizer, corpus, visitors.catalogue, seed=context.seed, progress=context.progress
    )
    if tasks:
        write_json(context.out / "task_samples.json", tasks.pop("samples"))
        found["tasks"] = tasks
    return found


def _warn_about(context: StageContext, measured: Measured) -> None:
    """Say in plain words what a reader must not miss."""
    figures = measured.figures()
    precision, lift = figures.get("claim_precision"), figures.get("profile_match_lift")
    if precision is None:
        context.warn("no text for a held-out item claims anything")
    elif precision.value < PRECISE:
        context.warn(
            f"claim precision on held-out items is {precision.value:.3f}, below {PRECISE}: "
            "more pairs or more steps of sft teach to copy facts better"
        )
    if lift is not None and (lift.low is None or lift.low <= 0):
        context.warn(
            "the texts are not shown to fit their readers: asked for another reader, the writer "
            f"matches this one as often (difference {lift.value:+.3f}, and its interval covers 0)"
        )
