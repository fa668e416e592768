"""Writing with a trained reasoner: batched, cached, and the same whatever the batch size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedTokenizerBase

from envs.errors import UserError
from envs.progress import Progress, silent
from policies.reasoner import int8
from policies.reasoner.cache import roomy_cache
from policies.reasoner.sampling import Sampling, choose, draw_uniforms
from policies.reasoner.trace import Recorder, last_states
from sft.base_model import check_context, decode_completions, encode_prompts, load_model
from sft.quiet import quiet_libraries
from sft.virtual_tokens import unwrap_virtual_tokens

#: A PreTrainedModel, or one behind virtual tokens (`WithVirtualTokens`); both are called alike.
Writer = Any


def load_reasoner(
    folder: Path, device: torch.device | str = "cpu"
) -> tuple[Writer, PreTrainedTokenizerBase]:
    """Load ``folder/base`` with ``folder/adapter`` merged into it, ready to write on ``device``.

    Virtual tokens cannot be merged: they are put in front of all that the model reads.

    Without an adapter the base is returned as it is. Raises UserError when there is no base.
    """
    if not (folder / "base").is_dir():
        raise UserError(
            f"reasoner: {folder} has no folder 'base': give a folder that sft or ppo wrote."
        )
    if (folder / "base" / int8.WEIGHTS).is_file():
        model, tokenizer = int8.load_int8(folder / "base")
        return model.to(device), tokenizer
    model, tokenizer = load_model(folder / "base")
    # Before the virtual tokens, whose keys and values are computed where the model is.
    model.to(device)
    adapter = folder / "adapter"
    if adapter.is_dir():
        if not (adapter / "adapter_model.safetensors").is_file():
            raise UserError(f"reasoner: {adapter} has no adapter_model.safetensors: train again.")
        with quiet_libraries():
            tuned = PeftModel.from_pretrained(model, str(adapter)).eval()
            virtual = tuned.active_peft_config.is_prompt_learning
            model = unwrap_virtual_tokens(tuned) if virtual else tuned.merge_and_unload()
    return model.eval(), tokenizer


def generate(
    model: Writer,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 32,
    temperature: float = 1.0,
    top_p: float = 1.0,
    greedy: bool = False,
    batch_size: int = 256,
    seed: int = 0,
    progress: Progress = silent,
) -> list[str]:
    """Return one completion for each prompt, in the order of the prompts.

    ``greedy`` takes the likeliest token, else tokens are sampled at ``temperature`` from the
    nucleus of ``top_p``. Row i draws its randomness from ``(seed, i)`` alone, so neither the batch
    size nor the other prompts change what it writes (up to ties within float32 rounding).
    """
    sampling = Sampling(max_new_tokens, temperature, top_p, greedy, seed)
    written = generate_many(
        model, tokenizer, prompts, sampling, batch_size=batch_size, progress=progress
    )
    return [texts[0] for texts in written]


def generate_many(
    model: Writer,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    copies: int = 1,
    rows: Sequence[int] | None = None,
    batch_size: int = 256,
    progress: Progress = silent,
) -> list[list[str]]:
    """Return ``copies`` completions of each of P prompts, (P, copies), each prompt read once.

    Args:
        model: writes.
        tokenizer: its tokenizer.
        prompts: P prompts.
        sampling: how tokens are chosen.
        copies: completions of each prompt. Copy j of a row draws from ``(seed, row, j)`` alone, so
            the first k of n copies are the copies of k, and copy 0 is what `generate` writes.
        rows: the number that each prompt draws by, its place by default. Parts of a longer list
            that are written apart, each under its places there, come out as the whole would.
        batch_size: completions written at once.
        progress: counts prompts.

    Raises:
        UserError: for a sampling that means nothing, or a prompt that does not fit the model.
    """
    sampling.check(copies)
    if not prompts:
        return []
    encoded = check_prompts(model, tokenizer, prompts, sampling.max_new_tokens)
    numbers = range(len(encoded)) if rows is None else rows
    # Neighbours in length share a batch, so that little of it is padding.
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
    written: list[list[str]] = [[] for _ in encoded]
    at_once = max(1, batch_size // copies)
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(order), at_once):
            places = order[start : start + at_once]
            ids, attended = left_pad([encoded[p] for p in places], tokenizer.pad_token_id)
            draws = (
                None
                if sampling.greedy
                else draw_uniforms([numbers[p] for p in places], copies, sampling)
            )
            batch = write(
                model,
                ids.to(model.device),
                attended.to(model.device),
                end_tokens(model, tokenizer),
                sampling.max_new_tokens,
                sampling.temperature,
                None if draws is None else draws.to(model.device),
                copies,
                sampling.top_p,
            )
            texts = decode_completions(tokenizer, batch)
            for turn, place in enumerate(places):
                written[place] = texts[turn * copies : (turn + 1) * copies]
            progress(min(start + at_once, len(order)), len(order), {})
    finally:
        model.train(was_training)
    return written


def check_prompts(
    model: Writer, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], max_new_tokens: int
) -> list[list[int]]:
    """Return the tokens of each prompt; UserError if one and its completion do not fit."""
    encoded = encode_prompts(tokenizer, list(prompts))
    check_context(model, max(map(len, encoded)) + max_new_tokens)
    return encoded


def left_pad(rows: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return token ids and attention mask, ``(B, P) int64`` each, padded on the left."""
    width = max(map(len, rows))
    ids = [[pad] * (width - len(row)) + row for row in rows]
    attended = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids), torch.tensor(attended)


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return every token that ends a text: the tokenizer's and the model's own, ``(E,) int64``."""
    own = model.generation_config.eos_token_id
    own = [] if own is None else own if isinstance(own, list) else [own]
    return torch.tensor(sorted({tokenizer.eos_token_id, *own}), device=model.device)


@torch.no_grad()
def write(
    model: nn.Module,
    ids: Tensor,
    attended: Tensor,
    ends: Tensor,
    steps: int,
    temperature: float,
    draws: Tensor | None,
    copies: int = 1,
    top_p: float = 1.0,
    recorder: Recorder | None = None,
) -> list[list[int]]:
    """Return the tokens written after each left-padded prompt ``(B, P)``, its end included.

    Each prompt is read once and continued ``copies`` times, side by side. ``draws`` is
    ``(B * copies, steps)`` uniforms, or None for the likeliest tokens; ``ends (E,)`` are the
    tokens that end a text. A ``recorder`` takes down what the model thinks of each token.
    """
    cache = roomy_cache(model.config, room=steps)
    want_states = recorder is not None and recorder.want_states
    output = read(model, ids, attended, cache, count(attended), keep=1, states=want_states)
    logits, states = output.logits[:, -1], last_states(output)[:, -1]
    if copies > 1:
        cache.batch_repeat_interleave(copies)
        logits, states, attended = (
            x.repeat_interleave(copies, dim=0) for x in (logits, states, attended)
        )
    written: list[list[int]] = [[] for _ in logits]
    live = torch.arange(len(logits), device=ids.device)  # which row each one of the batch is
    ended = torch.zeros(len(logits), dtype=torch.bool, device=ids.device)
    for step in range(steps):
        draw = None if draws is None else draws[live, step]
        chosen = choose(logits, temperature, draw, top_p)
        if recorder is not None:
            recorder.note(live, step, logits, states, chosen)
        for row, token, over in zip(live.tolist(), chosen.tolist(), ended.tolist(), strict=True):
            if not over:
                written[row].append(token)
        ended |= torch.isin(chosen, ends)
        if ended.all() or step == steps - 1:
            break
        # Rows that ended leave the batch, a quarter at a time: each time copies the cache.
        if 4 * int(ended.sum()) >= len(ended):
            kept = (~ended).nonzero().squeeze(1)
            cache.batch_select_indices(kept)
            chosen, attended, live, ended = (x[kept] for x in (chosen, attended, live, ended))
        attended = torch.cat([attended, torch.ones_like(chosen[:, None])], dim=1)
        position = attended.sum(dim=1, keepdim=True) - 1
        output = read(model, chosen[:, None], attended, cache, position, 1, states=want_states)
        logits, states = output.logits[:, -1], last_states(output)[:, -1]
    return written


def read(
    model: nn.Module,
    ids: Tensor,
    attended: Tensor,
    cache: DynamicCache,
    positions: Tensor,
    keep: int,
    states: bool = False,
) -> Any:
    """Run the model over ``ids (B, S)`` after what ``cache`` holds; keep the last ``keep`` logits.

    ``attended (B, past + S)`` is 1 on real tokens, ``positions (B, S)`` counts them from 0.
    """
    return model(
        input_ids=ids,
        attention_mask=attended,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=keep,
        output_hidden_states=states,
    )


def count(attended: Tensor) -> Tensor:
    """Return the position of each token among the real ones of its row, ``(B, S) int64``."""
    return (attended.cumsum(dim=1) - 1).clamp(min=0)
