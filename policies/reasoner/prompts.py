"""TRL's trainers, reading prompts as every other part of this house reads them.

TRL 1.16 would give a plain text to the tokenizer as it is: past a chat template, and with whatever
looks like a special token in a product's title taken for one.
"""

from __future__ import annotations

from typing import Any

from sft.base_model import encode_prompts


class OurPrompts:
    """Put before a TRL trainer: it encodes prompts by `sft.base_model.encode_prompts`."""

    _tokenizer: Any

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Return token ids, and neither images nor further fields."""
        return encode_prompts(self._tokenizer, prompts), None, {}
