"""The base model: made on the spot, or loaded from a folder, with mistakes named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from envs.errors import UserError
from sft.base_model import (
    BaseModelConfig,
    check_context,
    decode_completions,
    encode_completions,
    encode_prompts,
    load_model,
    make_local_model,
)

TEXTS = ["a two-day battery and 90 g", "a bright screen", "轻便的手表，电池可用两天"]
CONFIG = BaseModelConfig(vocab_size=300)


@pytest.mark.parametrize(
    "text", ["a bright screen", "轻便的手表", "naïve café — 90 €", "👟 unseen\tcharacters", "x  y"]
)
def test_any_text_survives_a_round_trip(text: str) -> None:
    _, tokenizer = make_local_model(TEXTS, CONFIG, seed=0)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert decode_completions(tokenizer, encode_completions(tokenizer, [text])) == [text]


def test_a_prompt_has_the_same_tokens_alone_and_before_a_completion() -> None:
    _, tokenizer = make_local_model(TEXTS, CONFIG, seed=0)
    (prompt,) = encode_prompts(tokenizer, ["likes: battery ->"])
    (completion,) = encode_completions(tokenizer, ["two-day battery"])
    assert tokenizer.decode(prompt) == "likes: battery ->"
    assert completion[-1] == tokenizer.eos_token_id
    assert completion.count(tokenizer.eos_token_id) == 1


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, _ = make_local_model(TEXTS, CONFIG, seed=1)
    again, _ = make_local_model(TEXTS, CONFIG, seed=1)
    other, _ = make_local_model(TEXTS, CONFIG, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    a, b, c = (next(model.parameters()) for model in (first, again, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_nano_is_small_and_ties_its_embeddings() -> None:
    model, _ = make_local_model(TEXTS, CONFIG, seed=0)
    assert sum(p.numel() for p in model.parameters()) < 1_500_000
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_a_saved_model_loads_from_its_folder(tmp_path: Path) -> None:
    model, tokenizer = make_local_model(TEXTS, CONFIG, seed=0)
    model.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    loaded, loaded_tokenizer = load_model(tmp_path / "m")
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"]])
    assert loaded_tokenizer(TEXTS[0])["input_ids"] == ids[0].tolist()
    torch.testing.assert_close(loaded(ids).logits, model(ids).logits)


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a model folder \(it has no config.json\)") as error:
        load_model(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_folder_without_weights_is_one_line(tmp_path: Path) -> None:
    model, tokenizer = make_local_model(TEXTS, CONFIG, seed=0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be read") as error:
        load_model(tmp_path)
    assert "\n" not in str(error.value)


def test_a_tokenizer_without_an_end_names_the_mend(tmp_path: Path) -> None:
    model, tokenizer = make_local_model(TEXTS, CONFIG, seed=0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings.pop("eos_token")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="set eos_token in its tokenizer_config"):
        load_model(tmp_path)


def test_weights_of_another_model_are_named(tmp_path: Path) -> None:
    model, tokenizer = make_local_model(TEXTS, CONFIG, seed=0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    # Transformers would make up the fifth layer and say so only in its log.
    (tmp_path / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 5}))
    with pytest.raises(UserError, match=r"has no model\.layers\.4\..* \(\d+ such weights\)"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(settings | {"intermediate_size": 77}))
    with pytest.raises(UserError, match=r"has another size of model\.layers\.0\.mlp"):
        load_model(tmp_path)


def test_a_file_that_is_no_safetensors_is_one_line(tmp_path: Path) -> None:
    model, tokenizer = make_local_model(TEXTS, CONFIG, seed=0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(UserError, match="cannot be read") as error:
        load_model(tmp_path)
    assert "\n" not in str(error.value)


def test_a_tokenizer_larger_than_its_model_is_named(tmp_path: Path) -> None:
    model, tokenizer = make_local_model(TEXTS, CONFIG, seed=0)
    tokenizer.add_tokens(["battery", "screen"])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"has \d+ tokens, but the model embeds \d+"):
        load_model(tmp_path)


def test_a_hub_id_that_cannot_be_fetched_is_one_line() -> None:
    # In a process of its own, because the hub library reads this variable when it is imported.
    code = (
        "from envs.errors import UserError\n"
        "from sft.base_model import load_model\n"
        "try:\n    load_model('no-owner/no-such-model')\n"
        "except UserError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HF_HUB_OFFLINE": "1", "PYTHONPATH": ".", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "no-owner/no-such-model cannot be fetched from the hub" in done.stdout
    assert done.stdout.count("\n") == 1


def test_too_long_a_prompt_is_named() -> None:
    model, _ = make_local_model(TEXTS, CONFIG, seed=0)
    check_context(model, 512)
    with pytest.raises(UserError, match="need 513 tokens, but the model reads at most 512"):
        check_context(model, 513)


def test_too_small_a_vocabulary_is_named() -> None:
    with pytest.raises(UserError, match="at least 259, it is 100"):
        make_local_model(TEXTS, BaseModelConfig(vocab_size=100), seed=0)
