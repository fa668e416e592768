"""What each kind of adapter costs and brings: parameters, bytes, seconds and the held-out loss."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.assemble import synthetic_visitors
from envs.shoppers import ShopperConfig
from envs.synthetic import SyntheticConfig
from experiments.benchmarks.timing import row
from policies.reasoner.generate import generate, load_reasoner
from sft.base_model import decode_completions, encode_prompts
from sft.completions import Pair
from sft.corpus import CorpusConfig, build_corpus
from sft.quiet import quiet_libraries
from sft.train import Fitted, fit_sft
from sft.train_config import AdapterConfig, BaseModelConfig, SftConfig
from sft.trainer_tools import save_reasoner

_ITEMS, _PAIRS, _BASE_STEPS, _STEPS, _BATCH = 100, 1_500, 150, 60, 16
#: Prompts whose text is compared before saving and after loading, and its longest, in tokens.
_WRITTEN, _TOKENS = 64, 24

#: Each with a learning rate that suits it: virtual tokens bear far higher ones than matrices.
KINDS: dict[str, tuple[AdapterConfig, float]] = {
    "lora": (AdapterConfig(), 1e-3),
    "lora, dora": (AdapterConfig(dora=True), 1e-3),
    "lora, rslora": (AdapterConfig(rslora=True), 1e-3),
    "adalora": (AdapterConfig(kind="adalora"), 1e-3),
    "prefix": (AdapterConfig(kind="prefix"), 1e-2),
    "prompt": (AdapterConfig(kind="prompt"), 1e-2),
    "full": (AdapterConfig(kind="full"), 1e-3),
}


def measure(repeats: int) -> list[dict[str, Any]]:
    """Teach a base that states any fact of an item to state what the reader likes, by each kind.

    The base and the data are the same for all kinds; so are the steps and the batches.
    """
    generic = made_up_pairs(CorpusConfig(pairs=_PAIRS, fit=0, generic=1, overclaim=0))
    fitting = made_up_pairs(CorpusConfig(pairs=_PAIRS, fit=1, generic=0, overclaim=0))
    with tempfile.TemporaryDirectory() as folder:
        base = _make_base(generic, Path(folder))
        return [
            line
            for name in KINDS
            for line in _measure(name, base, fitting, Path(folder) / name, repeats)
        ]


def made_up_pairs(config: CorpusConfig) -> tuple[list[Pair], list[Pair]]:
    """Return training and held-out pairs of a made-up shop; held-out ones are of other items."""
    rng = np.random.default_rng(0)
    visitors = synthetic_visitors(SyntheticConfig(items=_ITEMS), ShopperConfig(), rng)
    corpus = build_corpus(visitors.catalogue, visitors.profiles, config, rng)
    train, held = (
        [Pair(pair.prompt, pair.completion) for pair in pairs]
        for pairs in ([*corpus.train, *corpus.made_up], corpus.held)
    )
    return train, held


def _config(**settings: Any) -> SftConfig:
    return SftConfig(batch_size=_BATCH, evaluations=1, patience=100, **settings)


def _make_base(pairs: tuple[list[Pair], list[Pair]], folder: Path) -> Path:
    # The adapter of this training is thrown away: a single step of it costs nothing.
    config = _config(base_steps=_BASE_STEPS, adapter_steps=1)
    fitted = fit_sft(*pairs, config, folder / "base work", 0)
    _save(fitted, folder / "made")
    return folder / "made" / "base"


def _save(fitted: Fitted, folder: Path) -> None:
    with quiet_libraries():
        save_reasoner(fitted.model, fitted.tokenizer, folder)


def _measure(
    name: str, base: Path, pairs: tuple[list[Pair], list[Pair]], folder: Path, repeats: int
) -> list[dict[str, Any]]:
    adapter, rate = KINDS[name]
    config = _config(
        base=BaseModelConfig(model=str(base)),
        adapter_steps=_STEPS,
        adapter_lr=rate,
        adapter=adapter,
    )
    seconds = []
    for repeat in range(repeats):
        fitted = fit_sft(*pairs, config, folder / f"work {repeat}", 0)
        seconds.append(fitted.metrics["adapter"]["seconds"])
    prompts = [pair.prompt for pair in pairs[1][:_WRITTEN]]
    live = _written_live(fitted, prompts)
    figures = fitted.metrics["adapter"]
    _save(fitted, folder / "out")
    new = folder / "out" / ("base" if adapter.kind == "full" else "adapter")
    size = sum(path.stat().st_size for path in new.glob("*.safetensors"))
    loaded = generate(*load_reasoner(folder / "out"), prompts, max_new_tokens=_TOKENS, greedy=True)
    what = f"{_STEPS} steps of {_BATCH} at {rate:g} on a nano model, {_ITEMS} items"
    same = float(np.mean([a == b for a, b in zip(live, loaded, strict=True)]))
    return [
        row(name, metric, unit, what, values)
        for metric, unit, values in (
            ("parameters", "1", [float(figures["parameters"])]),
            ("size_on_disk", "bytes", [float(size)]),
            ("held_loss_before", "nats", [figures["held_loss_before"]]),
            ("held_loss", "nats", [figures["held_loss"]]),
            ("same_text_after_loading", "1", [same]),
            ("seconds", "s", seconds),
        )
    ]


@torch.no_grad()
def _written_live(fitted: Fitted, prompts: list[str]) -> list[str]:
    """Return what the model writes greedily before it was ever saved, by transformers' own loop.

    One prompt at a time: in a padded batch PEFT puts virtual tokens in front of the padding, where
    no training ever saw them.
    """
    model, texts = fitted.model.eval(), []
    for ids in encode_prompts(fitted.tokenizer, prompts):
        asked = torch.tensor([ids], device=model.device)
        with quiet_libraries(), warnings.catch_warnings():
            # PEFT says at each call that virtual tokens count the positions anew.
            warnings.filterwarnings("ignore", message="Position ids are not supported")
            row = model.generate(
                input_ids=asked,
                attention_mask=torch.ones_like(asked),
                max_new_tokens=_TOKENS,
                do_sample=False,
                pad_token_id=fitted.tokenizer.pad_token_id,
            )[0]
        texts += decode_completions(fitted.tokenizer, [row[len(ids) :].tolist()])
    return texts
