"""The causal language model that writes: made on the spot, or any by path or hub id."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from envs.errors import UserError
from sft.chat import encode_turns, settle_chat
from sft.induction import ROPE_THETA, lay_induction
from sft.quiet import quiet_libraries
from sft.train_config import BaseModelConfig, ChatUse

#: Longest text a locally made model reads, in tokens.
LOCAL_CONTEXT = 512


class Shape(NamedTuple):
    """Width and depth of a locally made model."""

    hidden: int
    layers: int
    heads: int


SHAPES = {"nano": Shape(128, 4, 4), "small": Shape(256, 6, 8)}


def make_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; any Unicode text survives a round trip.

    Byte-level BPE: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
    Each digit is a piece of its own: a number is copied digit by digit from ten common tokens
    instead of from hundreds of rare ones. So is each Chinese character.
    """
    specials = ["<pad>", "<bos>", "<eos>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < len(alphabet) + len(specials):
        raise UserError(
            f"base model: vocab_size must be at least {len(alphabet) + len(specials)}, "
            f"it is {vocab_size}: raise it."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            # Chinese has no spaces: words found by frequency would be cut differently in a prompt
            # and in its reason, and could not be copied token by token.
            pre_tokenizers.Split(Regex("[\u3400-\u4dbf\u4e00-\u9fff]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side="left",
        model_max_length=LOCAL_CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def make_local_model(
    texts: Iterable[str], config: BaseModelConfig, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return a Llama-type model that can copy but knows nothing, and a tokenizer for ``texts``.

    The same texts, config and seed give the same weights; the global generators are untouched.
    """
    tokenizer = make_tokenizer(texts, config.vocab_size)
    shape = SHAPES[config.size]
    settings = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=shape.hidden * 8 // 3,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=LOCAL_CONTEXT,
        tie_word_embeddings=True,
        attention_bias=True,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(settings)
    lay_induction(model, torch.Generator().manual_seed(seed))
    return model, tokenizer


def _is_folder_name(name: str) -> bool:
    """Whether ``name`` can only mean a folder; a hub id is ``name`` or ``owner/name``."""
    return Path(name).exists() or name.startswith((".", "/", "~")) or name.count("/") > 1


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def load_model(
    path_or_id: str | Path, chat: ChatUse = "auto"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal LM and its tokenizer from a folder, or from the hub by id.

    A folder is read without any network. Weights must be safetensors and remote code is never
    run. The tokenizer comes back without its chat template when ``chat`` does not want it.

    Raises UserError when there is no such model, when weights are missing or do not fit, when the
    tokenizer has no end-of-text token or more tokens than the model, or when its chat template
    does not do what ``chat`` asks.
    """
    name = str(path_or_id)
    local = _is_folder_name(name)
    folder = Path(name).expanduser()
    if local and not (folder / "config.json").is_file():
        raise UserError(
            f"base model: {name} is not a model folder (it has no config.json): give a folder "
            "written by save_pretrained, a hub id, or 'local'."
        )
    source = str(folder) if local else name
    common: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    try:
        with quiet_libraries():
            settings = AutoConfig.from_pretrained(source, **common)
            tokenizer = AutoTokenizer.from_pretrained(source, **common)
            model, read = AutoModelForCausalLM.from_pretrained(
                source,
                config=settings,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                # Told of below, in one line.
                ignore_mismatched_sizes=True,
                **common,
            )
    except (OSError, ValueError, KeyError, HFValidationError, SafetensorError) as error:
        where = "cannot be read" if local else "cannot be fetched from the hub"
        raise UserError(
            f"base model: {name} {where} ({_first_line(error)}): it must be a causal language "
            "model with a tokenizer and safetensors weights."
        ) from error
    _check_weights(name, read)
    _check_tokenizer(name, tokenizer, model)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    settle_chat(tokenizer, chat, name)
    return model, tokenizer


def _check_weights(name: str, read: dict[str, Any]) -> None:
    # Transformers would start what it does not find at random, and only log it.
    missing = sorted(read["missing_keys"])
    unfit = sorted(entry[0] for entry in read["mismatched_keys"])
    if missing or unfit:
        what, first = ("has no", missing[0]) if missing else ("has another size of", unfit[0])
        raise UserError(
            f"base model: the safetensors of {name} {what} {first} "
            f"({len(missing) + len(unfit)} such weights): config.json and weights must be of one "
            "model."
        )


def _check_tokenizer(name: str, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"base model: the tokenizer of {name} has no end-of-text token, so no text would "
            "ever end: set eos_token in its tokenizer_config.json."
        )
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise UserError(
            f"base model: the tokenizer of {name} has {len(tokenizer)} tokens, but the model "
            f"embeds {known}: both must be of one model."
        )


def context_length(model: Any) -> int | None:
    """Return how many tokens the model can read, or None when it states no limit."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    # Virtual tokens in front of a text take their places.
    return None if limit is None else limit - getattr(model, "virtual_tokens", 0)


def check_context(model: Any, tokens: int) -> None:
    """Raise UserError when ``tokens`` (prompt and completion) do not fit the model."""
    limit = context_length(model)
    if limit is not None and tokens > limit:
        raise UserError(
            f"base model: prompts with their completions need {tokens} tokens, but the model "
            f"reads at most {limit}: shorten the prompts or choose a model with a longer context."
        )


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[list[int]]:
    """Return the token ids of each prompt, as training and generation both see them.

    A prompt is a user's turn where the tokenizer has a chat template, else plain text. What looks
    like a special token inside a prompt is encoded as the text that it is.
    """
    if tokenizer.chat_template is not None:
        return encode_turns(tokenizer, prompts)
    return tokenizer(text=prompts, split_special_tokens=True)["input_ids"]


def encode_completions(
    tokenizer: PreTrainedTokenizerBase, completions: list[str]
) -> list[list[int]]:
    """Return the token ids of each completion, ending in the end-of-text token.

    A completion is encoded on its own, so that no token spans the border with its prompt. After a
    plain prompt it begins with one space, so that its first word is the same token as inside a
    prompt; in a chat it begins the line after its header.
    """
    space = " " if tokenizer.chat_template is None else ""
    texts = [f"{space}{completion.strip()}" for completion in completions]
    encoded = tokenizer(text=texts, add_special_tokens=False, split_special_tokens=True)
    return [[*ids, tokenizer.eos_token_id] for ids in encoded["input_ids"]]


def decode_completions(tokenizer: PreTrainedTokenizerBase, rows: list[list[int]]) -> list[str]:
    """Return the text of each completion, the inverse of :func:`encode_completions`."""
    return [text.strip() for text in tokenizer.batch_decode(rows, skip_special_tokens=True)]
