"""A second opinion on a sentence: does a language-inference model find that the facts entail it?

Off by default: nothing in training or guarding asks it. It reads what rules cannot (suppositions,
paraphrase) and is wrong where rules are right (numbers, units), so it is for reports.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from envs.catalogue import Catalogue
from envs.errors import UserError

ENTAILS = "entail"


class EntailmentChecker:
    """Any model for natural language inference, by path or hub id."""

    def __init__(self, model: str) -> None:
        """Load the model (safetensors only, no code of its own).

        Raises:
            UserError: if it cannot be loaded, or has no label that says entailment.
        """
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
            self._model = AutoModelForSequenceClassification.from_pretrained(
                model, trust_remote_code=False, use_safetensors=True
            ).eval()
        except (OSError, ValueError) as error:
            why = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(
                f"entailment model {model!r}: cannot be loaded ({why}); give the path or hub id of "
                "a sequence classification model with safetensors weights"
            ) from error
        names = {int(index): str(name) for index, name in self._model.config.id2label.items()}
        labels = [index for index, name in names.items() if name.lower().startswith(ENTAILS)]
        if len(labels) != 1:
            raise UserError(
                f"entailment model {model!r}: one label must begin with {ENTAILS!r}, but its "
                f"labels are {', '.join(names.values())}; give a model for language inference"
            )
        self._entails = labels[0]

    @torch.no_grad()
    def score(
        self, premises: Sequence[str], hypotheses: Sequence[str], batch_size: int = 32
    ) -> NDArray[np.float32]:
        """Return the probability that each premise entails its hypothesis, (n,) float32."""
        out = np.zeros(len(premises), dtype=np.float32)
        for start in range(0, len(premises), batch_size):
            rows = slice(start, start + batch_size)
            inputs = self._tokenizer(
                list(premises[rows]), list(hypotheses[rows]),
                return_tensors="pt", padding=True, truncation="only_first",
            ).to(self._model.device)  # fmt: skip
            logits = self._model(**inputs).logits.float()
            out[rows] = logits.softmax(dim=-1)[:, self._entails].cpu().numpy()
        return out


def premise(catalogue: Catalogue, item: int) -> str:
    """Return the item's title and the first phrase of each of its facts, as the premise."""
    item_id = catalogue.items["item_id"].iloc[item]
    own = catalogue.facts[catalogue.facts["item_id"] == item_id]
    stated = [str(phrases[0]) for phrases in own["phrases"]]
    return ". ".join([str(catalogue.items["title"].iloc[item]), *stated]) + "."
