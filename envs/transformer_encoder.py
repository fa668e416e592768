"""A transformer as a text encoder: the mean of its last token vectors, as a unit vector.

Mean pooling over real tokens is what most sentence encoders are trained for (Reimers, Gurevych
2019, "Sentence-BERT"); a model that was trained with another pooling reads worse than its card
says. Texts are read as they are: no prompt is put in front of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: Tokens of a text that are read; a product's name and main facts come first.
LONGEST = 128
_BATCH = 64


@dataclass(frozen=True)
class TransformerEncoder:
    """Maps texts to unit vectors; a text without a token maps to zeros."""

    model: Any
    tokenizer: Any

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit rows (n, d) float32."""
        import torch

        # Texts of like length share a batch: padding is work for nothing.
        order = np.argsort([len(text) for text in texts], kind="stable")
        out = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        with torch.no_grad():
            for start in range(0, len(order), _BATCH):
                rows = order[start : start + _BATCH]
                batch = read_tokens(self.tokenizer, [texts[row] for row in rows])
                out[rows] = pooled(self.model, batch).numpy()
        return out


def read_tokens(tokenizer: Any, texts: Sequence[str]) -> dict[str, Tensor]:
    """Return ``input_ids`` and ``attention_mask`` of the texts, (n, longest) int64 each."""
    limit = min(LONGEST, tokenizer.model_max_length)
    read = tokenizer(
        list(texts), truncation=True, max_length=limit, padding=True, return_tensors="pt"
    )
    return {name: read[name].long() for name in ("input_ids", "attention_mask")}


def pooled(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """Mean of the real tokens' last hidden vectors as unit rows, (n, d); zeros without a token."""
    import torch

    real = batch["attention_mask"].unsqueeze(2).float()
    if not batch["input_ids"].shape[1]:
        return torch.zeros(len(real), model.config.hidden_size)
    hidden = model(**batch).last_hidden_state
    total = (hidden * real).sum(dim=1)
    return total / total.norm(dim=1, keepdim=True).clamp(min=1e-6)


def save_transformer(encoder: TransformerEncoder, folder: Path) -> None:
    """Write model (safetensors) and tokenizer into ``folder``."""
    encoder.model.save_pretrained(folder, safe_serialization=True)
    encoder.tokenizer.save_pretrained(folder)


def load_transformer(path_or_id: str | Path) -> TransformerEncoder:
    """Read a transformer and its tokenizer from a folder, or from the hub by id.

    A folder is read without any network. Weights must be safetensors; remote code is never run.

    Raises:
        UserError: there is no such model, or it cannot be read.
    """
    from transformers import AutoModel, AutoTokenizer

    name = str(path_or_id)
    folder = Path(name).expanduser()
    # A hub id is `name` or `owner/name`; anything else can only mean a folder.
    local = folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1
    if local and not (folder / "config.json").is_file():
        raise UserError(
            f"similarity.text.encoder: {name} is no model folder (it has no config.json); give "
            "tfidf, local, a folder written by save_pretrained, or a hub id"
        )
    source = str(folder) if local else name
    common: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
        model = AutoModel.from_pretrained(source, use_safetensors=True, **common)
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"similarity.text.encoder: {name} cannot be read ({first}); it must be a transformer "
            "with a tokenizer and safetensors weights"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return TransformerEncoder(model.float().eval(), tokenizer)
