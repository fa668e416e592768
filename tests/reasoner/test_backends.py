"""Backends: vLLM is asked for what our own writer does, and its absence is one clear line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from envs.errors import UserError
from policies.reasoner.backends import row_seed, vllm_backend
from policies.reasoner.best_of import best_of
from policies.reasoner.sampling import Sampling
from sft.base_model import encode_prompts, make_tokenizer

TOKENIZER = make_tokenizer(["watch battery ->"], 300)
PROMPTS = ["watch battery ->", "lamp ->", "watch ->"]


@dataclass
class SamplingParams:
    """The arguments of vLLM's class of this name that we rely on; an unknown one is an error."""

    n: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


@dataclass
class Copy:
    text: str


@dataclass
class Output:
    outputs: list[Copy]


@dataclass
class Calls:
    """What the engine was made with and asked for."""

    made: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[Any, list[SamplingParams], Any]] = field(default_factory=list)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Put a module named vllm in place that records calls and writes its seeds."""
    calls = Calls()

    class LLM:
        def __init__(self, model: str, trust_remote_code: bool, **options: Any) -> None:
            if "broken" in model:
                raise ValueError("no such architecture\nand a long story")
            calls.made.append({"model": model, "trust": trust_remote_code, **options})

        def get_tokenizer(self) -> PreTrainedTokenizerBase:
            return TOKENIZER

        def generate(
            self,
            prompts: Sequence[dict[str, list[int]]],
            sampling_params: list[SamplingParams],
            *,
            use_tqdm: bool,
            lora_request: LoRARequest | None,
        ) -> list[Output]:
            calls.asked.append((prompts, sampling_params, lora_request))
            # vLLM seeds copy j of a request with the request's seed + j.
            return [Output([Copy(f" {p.seed + j} ") for j in range(p.n)]) for p in sampling_params]

    vllm, lora, request = (ModuleType(n) for n in ("vllm", "vllm.lora", "vllm.lora.request"))
    vllm.LLM, vllm.SamplingParams = LLM, SamplingParams  # type: ignore[attr-defined]
    request.LoRARequest = LoRARequest  # type: ignore[attr-defined]
    for module in (vllm, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def reasoner(folder: Path, **adapter: Any) -> Path:
    (folder / "base").mkdir(parents=True)
    if adapter:
        (folder / "adapter").mkdir()
        (folder / "adapter" / "adapter_config.json").write_text(json.dumps(adapter))
    return folder


def test_a_request_for_each_prompt_with_its_own_seed(calls: Calls) -> None:
    write = vllm_backend("owner/model", Sampling(20, 0.7, 0.9, seed=5))
    texts = write(PROMPTS, [3, 4, 9], 2)
    assert calls.made == [{"model": "owner/model", "trust": False}]
    [(prompts, params, lora)] = calls.asked
    assert [p["prompt_token_ids"] for p in prompts] == encode_prompts(TOKENIZER, PROMPTS)
    assert params == [SamplingParams(2, 0.7, 0.9, 20, row_seed(5, row)) for row in (3, 4, 9)]
    assert lora is None
    assert texts == [[str(p.seed), str(p.seed + 1)] for p in params]


def test_greedy_writing(calls: Calls) -> None:
    write = vllm_backend("owner/model", Sampling(20, greedy=True))
    write(PROMPTS[:1], [0])
    [(_, [params], _)] = calls.asked
    assert (params.temperature, params.top_p, params.n) == (0.0, 1.0, 1)
    with pytest.raises(UserError, match="greedy writing has one text"):
        write(PROMPTS[:1], [0], 2)
    assert write([], []) == []


@pytest.mark.parametrize(("rank", "room"), [(4, 8), (8, 8), (24, 32), (512, 512)])
def test_an_adapter_goes_by_its_path(calls: Calls, tmp_path: Path, rank: int, room: int) -> None:
    folder = reasoner(tmp_path, peft_type="LORA", r=rank)
    vllm_backend(folder, Sampling())(PROMPTS, range(3))
    assert calls.made == [
        {
            "model": str(folder / "base"),
            "trust": False,
            "enable_lora": True,
            "max_lora_rank": room,
        }
    ]
    assert calls.asked[0][2] == LoRARequest("reasoner", 1, str(folder / "adapter"))


def test_a_reasoner_without_an_adapter_is_its_base(calls: Calls, tmp_path: Path) -> None:
    vllm_backend(reasoner(tmp_path), Sampling())(PROMPTS, range(3))
    assert calls.made[0] == {"model": str(tmp_path / "base"), "trust": False}
    assert calls.asked[0][2] is None


@pytest.mark.parametrize(
    ("adapter", "what"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "is PREFIX_TUNING"),
        ({"peft_type": "ADALORA", "r": 8}, "is ADALORA of rank 8"),
        ({"peft_type": "LORA", "r": 8, "use_dora": True}, "is DoRA"),
        ({"peft_type": "LORA", "r": 1024}, "is LORA of rank 1024"),
        ({"r": 8}, "is no PEFT adapter"),
    ],
)
def test_adapters_that_vllm_does_not_serve(
    calls: Calls, tmp_path: Path, adapter: dict[str, Any], what: str
) -> None:
    with pytest.raises(UserError, match=what) as raised:
        vllm_backend(reasoner(tmp_path, **adapter), Sampling())
    assert "\n" not in str(raised.value)


def test_a_model_that_vllm_cannot_load_is_one_line(calls: Calls) -> None:
    with pytest.raises(UserError, match=r"broken cannot be loaded \(no such arch.*\); mend") as met:
        vllm_backend("broken", Sampling())
    assert "long story" not in str(met.value)


def test_without_vllm_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match="pip install shelftalk") as raised:
        vllm_backend("owner/model", Sampling())
    assert "choose backend transformers" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_rows_have_seeds_far_apart() -> None:
    """Copies count up from a row's seed, so neighbours in row must not be neighbours in seed."""
    seeds = sorted(row_seed(seed, row) for seed in range(3) for row in range(500))
    assert min(b - a for a, b in pairwise(seeds)) > 1000
    assert all(0 <= seed < 2**62 for seed in seeds)


def test_best_of_stands_on_any_backend(calls: Calls) -> None:
    write = vllm_backend("owner/model", Sampling())
    found = best_of(write, lambda rows, texts: [-int(t) for t in texts], PROMPTS, 3)  # type: ignore[arg-type, return-value]
    assert found.texts == [str(row_seed(0, row)) for row in range(3)]
