"""A frozen linear policy over the joint features: what bandits and a logistic regression come to.

Kept as JSON with the name of each feature, so that weights never meet other features than they
were learned on. No pickle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError
from envs.files import read_json, write_json
from policies.baselines import Page, SlatePolicy
from policies.page_features import JOINT_FEATURES, joint_features

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class LinearScores:
    """Scores = joint features @ weights."""

    name: str
    #: (D,) float32, in the order of `JOINT_FEATURES`.
    weights: F32

    def score(self, page: Page) -> F32:
        """Return the scores of the page's candidates, (B, N) float32."""
        seen = page.observation
        return joint_features(seen["context"], seen["items"]) @ self.weights

    def policy(self) -> SlatePolicy:
        """Return the policy that orders by these scores."""
        return SlatePolicy(self.name, self.score)


def save_linear(scores: LinearScores, path: Path) -> None:
    """Write the name and the weight of each feature to a JSON file."""
    weights = dict(zip(JOINT_FEATURES, scores.weights.tolist(), strict=True))
    write_json(path, {"name": scores.name, "weights": weights})


def load_linear(path: Path) -> LinearScores:
    """Read what `save_linear` wrote.

    Raises:
        UserError: no such file, or it holds no weights of this version's features.
    """
    try:
        kept = read_json(path)
        name, weights = str(kept["name"]), dict(kept["weights"])
        values = np.array([weights[feature] for feature in JOINT_FEATURES], dtype=np.float32)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a linear policy: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: a linear policy has a name and a finite weight for each of the "
            f"{len(JOINT_FEATURES)} joint features, but this one lacks {error}; train it again"
        ) from None
    if strange := sorted(set(weights) - set(JOINT_FEATURES)):
        raise UserError(
            f"{path}: has a weight for {strange[0]!r}, which the shop does not observe; "
            "train it again"
        )
    if not np.isfinite(values).all():
        raise UserError(f"{path}: weights must be finite numbers; train it again")
    return LinearScores(name, values)
