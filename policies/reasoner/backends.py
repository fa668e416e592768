"""What writes: one contract, behind which our own writer stands, or vLLM.

vLLM is an optional dependency. It draws by its own generator, so the same seed gives other texts
than ours, though the same ones every time on the same machine.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from envs.errors import UserError
from policies.reasoner.generate import Writer, generate_many
from policies.reasoner.sampling import Sampling
from sft.base_model import encode_prompts

#: Ranks that vLLM makes room for; a smaller adapter fits into the next larger one.
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


class TextBackend(Protocol):
    """Turns prompts into texts; how tokens are chosen was settled when it was made."""

    def __call__(
        self, prompts: Sequence[str], rows: Sequence[int], copies: int = 1
    ) -> list[list[str]]:
        """Return ``copies`` texts of each of P prompts, (P, copies).

        ``rows`` are the numbers that the prompts draw by. The first k of n copies are the copies
        of k, and neither the other prompts nor where a list is cut into calls changes a text.
        """
        ...


def transformers_backend(
    model: Writer, tokenizer: PreTrainedTokenizerBase, sampling: Sampling, batch_size: int = 256
) -> TextBackend:
    """Return our own writer (`generate_many`), which runs anywhere."""

    def write(prompts: Sequence[str], rows: Sequence[int], copies: int = 1) -> list[list[str]]:
        return generate_many(
            model, tokenizer, prompts, sampling, copies=copies, rows=rows, batch_size=batch_size
        )

    return write


def vllm_backend(model: Path | str, sampling: Sampling) -> TextBackend:
    """Return vLLM's engine, for a reasoner folder (base and LoRA adapter) or any causal LM.

    Raises:
        UserError: vLLM is not installed, cannot load the model, or the adapter is of a kind that it
            does not serve.
    """
    sampling.check()
    vllm = _import_vllm()
    base, adapter = _parts(model)
    options: dict[str, Any] = {}
    if adapter is not None:
        options = {"enable_lora": True, "max_lora_rank": _room_for(adapter)}
    try:
        engine = vllm.LLM(model=str(base), trust_remote_code=False, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"backend vllm: {base} cannot be loaded ({_first_line(error)}); mend the model, or "
            "choose backend transformers"
        ) from error
    request = None
    if adapter is not None:
        lora = importlib.import_module("vllm.lora.request")
        request = lora.LoRARequest("reasoner", 1, str(adapter))

    def write(prompts: Sequence[str], rows: Sequence[int], copies: int = 1) -> list[list[str]]:
        sampling.check(copies)
        if not prompts:
            return []
        # Our own tokens, so that the model reads what it was trained on.
        encoded = encode_prompts(engine.get_tokenizer(), list(prompts))
        outputs = engine.generate(
            [{"prompt_token_ids": ids} for ids in encoded],
            [
                vllm.SamplingParams(
                    n=copies,
                    temperature=0.0 if sampling.greedy else sampling.temperature,
                    top_p=1.0 if sampling.greedy else sampling.top_p,
                    max_tokens=sampling.max_new_tokens,
                    seed=row_seed(sampling.seed, row),
                )
                for row in rows
            ],
            lora_request=request,
            use_tqdm=False,
        )
        return [[copy.text.strip() for copy in output.outputs] for output in outputs]

    return write


def row_seed(seed: int, row: int) -> int:
    """Return the seed of a row, in [0, 2^62): vLLM seeds copy j of a request with its seed + j.

    Rows are spread apart by hashing, or the copies of neighbours would be the same.
    """
    return int(np.random.SeedSequence([seed, row]).generate_state(1, np.uint64)[0] >> np.uint64(2))


def _import_vllm() -> Any:
    try:
        return importlib.import_module("vllm")
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "vllm"
        why = "is not installed" if absent else f"cannot be imported ({_first_line(error)})"
        raise UserError(
            f"backend vllm: vLLM {why}; install it with `pip install shelftalk[vllm]` on a machine "
            "with a GPU, or choose backend transformers, which needs nothing more"
        ) from error


def _parts(model: Path | str) -> tuple[Path | str, Path | None]:
    """Return the base and the adapter of a reasoner folder; any other model is its own base."""
    folder = Path(model)
    if not (folder / "base").is_dir():
        return model, None
    adapter = folder / "adapter"
    return folder / "base", adapter if adapter.is_dir() else None


def _room_for(adapter: Path) -> int:
    """Return the rank that vLLM must make room for; UserError for what is no plain LoRA."""
    try:
        about = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        kind, rank, dora = about["peft_type"], int(about.get("r", 0)), about.get("use_dora")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"backend vllm: {adapter} is no PEFT adapter; train again") from error
    if kind != "LORA" or dora or rank > VLLM_RANKS[-1]:
        what = "DoRA" if dora else f"{kind} of rank {rank}" if rank else kind
        raise UserError(
            f"backend vllm: {adapter} is {what}, but vLLM serves plain LoRA of rank "
            f"{VLLM_RANKS[-1]} or less; choose backend transformers"
        )
    return next(room for room in VLLM_RANKS if room >= rank)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
