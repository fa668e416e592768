"""What an SFT writer makes of the tasks beside the reason, measured on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from envs.catalogue import Catalogue
from envs.progress import Progress, silent
from policies.reasoner.generate import generate
from sft.base_model import context_length, encode_completions, encode_prompts
from sft.corpus import Corpus
from sft.corpus_split import TaskPair
from sft.metrics.figures import Figure
from sft.metrics.floors import derangement, fixed_sentence
from sft.metrics.overlap import ReferenceScorer
from sft.metrics.panels import Panel, about, make_panel
from sft.metrics.variety import unique_share
from sft.metrics.words import words_of

#: Held-out prompts of each task, and samples of each that are returned.
PROMPTS, SHOWN = 64, 20
#: Tokens that a text may be longer than the longest reference of its task.
_SLACK = 8


def measure_tasks(
    model: Any,
    tokenizer: Any,
    corpus: Corpus,
    catalogue: Catalogue,
    *,
    max_new_tokens: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
    prompts: int = PROMPTS,
) -> dict[str, Any]:
    """Write greedy texts for held-out prompts of every task in ``corpus.more`` and measure them.

    Args:
        model: the writer, as `policies.reasoner.generate.load_reasoner` returns it.
        tokenizer: its tokenizer.
        corpus: the corpus that it was trained on.
        catalogue: the catalogue that the corpus was made of.
        max_new_tokens: longest text in tokens; None takes what the longest reference of the task
            needs, and a few more.
        seed: draws prompts and floors.
        progress: counts prompts, over all tasks.
        prompts: held-out prompts of each task, at most; each prompt once.

    Returns:
        ``{task: {metric: {value, low?, high?, about, better, floors: {fixed, shuffled, rules},
        reference?}}, "samples": {task: [{prompt, text, reference, rules}]}}``, where ``reference``
        is what the references themselves score; ``{}`` where the corpus has no task beside the
        reason.
    """
    rng = np.random.default_rng(seed)
    found = {task: _draw(pairs, prompts, rng) for task, pairs in _by_task(corpus).items()}
    drawn = {task: _fitting(pairs, model, tokenizer) for task, pairs in found.items()}
    drawn = {task: pairs for task, pairs in drawn.items() if pairs}
    total, done = sum(map(len, drawn.values())), 0
    result: dict[str, Any] = {}
    samples: dict[str, Any] = {}
    for task, pairs in drawn.items():
        progress(done, total, {})
        panel = make_panel(pairs, corpus.more.finder, catalogue)
        texts = generate(
            model, tokenizer, panel.prompts, greedy=True, seed=seed,
            max_new_tokens=max_new_tokens or _room(panel.references, tokenizer),
        )  # fmt: skip
        result[task] = measure_panel(panel, texts, rng)
        samples[task] = _samples(panel, texts)
        done += len(pairs)
    progress(done, total, {})
    return result | {"samples": samples} if result else {}


def _by_task(corpus: Corpus) -> dict[str, dict[str, TaskPair]]:
    """Return the held-out pairs by task and by prompt: a prompt is asked once."""
    tasks: dict[str, dict[str, TaskPair]] = {}
    for pair in corpus.more.held:
        tasks.setdefault(pair.task, {}).setdefault(pair.prompt, pair)
    return tasks


def _draw(pairs: Mapping[str, TaskPair], count: int, rng: np.random.Generator) -> list[TaskPair]:
    every = list(pairs.values())
    return [every[row] for row in rng.permutation(len(every))[:count]]


def _fitting(pairs: Sequence[TaskPair], model: Any, tokenizer: Any) -> list[TaskPair]:
    """Return the pairs that the model can read whole, as training left out the others too."""
    limit = context_length(model)
    if limit is None:
        return list(pairs)
    read = encode_prompts(tokenizer, [pair.prompt for pair in pairs])
    room = _room([pair.completion for pair in pairs], tokenizer)
    return [pair for pair, tokens in zip(pairs, read) if len(tokens) + room <= limit]


def _room(references: Sequence[str], tokenizer: Any) -> int:
    """Return how many tokens a text may have."""
    return max(map(len, encode_completions(tokenizer, list(references)))) + _SLACK


def measure_panel(panel: Panel, texts: Sequence[str], rng: np.random.Generator) -> dict[str, Any]:
    """Return ``{metric: {value, low?, high?, about, better, floors, reference?}}`` of n texts.

    ``low`` and ``high`` are a 95 % interval over prompts, where a metric is a share of them. The
    floors are ``fixed`` (one reference said of everything), ``shuffled`` (another row's reference)
    and ``rules`` (what rules write).
    """
    shuffled = derangement(len(texts), rng)
    fixed = fixed_sentence(panel.references, panel.locale, rng)
    floors = {
        "fixed": [fixed] * len(texts),
        "shuffled": [panel.references[row] for row in shuffled],
        "rules": panel.rules,
    }
    scorer = ReferenceScorer([panel.compared(text) for text in panel.references], panel.locale)

    def measured(said: Sequence[str]) -> dict[str, Figure]:
        compared = [panel.compared(text) for text in said]
        variety = unique_share([words_of(text, panel.locale) for text in compared])
        overlap = scorer.score(compared) | {"usr": variety}
        return panel.measure(said) | {name: Figure(value) for name, value in overlap.items()}

    own = measured(texts)
    below = {floor: measured(said) for floor, said in floors.items()}
    reference = panel.measure(panel.references)
    return {
        name: {
            **figure.as_dict(),
            **about(name),
            "floors": {floor: figures[name].value for floor, figures in below.items()},
            **({"reference": reference[name].value} if name in reference else {}),
        }
        for name, figure in own.items()
    }


def _samples(panel: Panel, texts: Sequence[str]) -> list[dict[str, str]]:
    rows = zip(panel.prompts, texts, panel.references, panel.rules)
    return [
        {"prompt": prompt, "text": panel.handed_out(text), "reference": reference, "rules": rules}
        for prompt, text, reference, rules in list(rows)[:SHOWN]
    ]
