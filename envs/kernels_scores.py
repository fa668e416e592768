"""Kernels of `envs.anchor_scores`: sparse rows of one anchor, added up and met by items."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.compiled import compiled


@compiled
def mix_rows(out: Any, items: Any, weights: Any, indptr: Any, indices: Any, data: Any) -> None:
    """Add the weighted sparse rows of some items to ``out``, (columns,) float32."""
    for at in range(len(items)):
        for place in range(indptr[items[at]], indptr[items[at] + 1]):
            out[indices[place]] += weights[at] * data[place]


@compiled
def score_rows(
    out: Any, items: Any, text: Any, ties: Any, ties_scale: Any, paths: Any, indptr: Any,
    nodes: Any, weights: Any, price_z: Any, level: Any, class_score: Any, class_index: Any,
    words: Any, quality: Any,
) -> None:  # fmt: skip
    """Write the six scores of one anchor and P items, (P, 6) float32; see `envs.similarity`.

    ``text`` is (P,) in the order of ``items``; ``words`` is (I,), or empty where nothing was asked.
    """
    for at in range(len(items)):
        item = items[at]
        path = np.float32(0)
        for place in range(indptr[item], indptr[item + 1]):
            path += paths[nodes[place]] * weights[place]
        scene = class_score[class_index[item]]
        if len(words) > 0:
            scene += words[item]
        out[at, 0] = min(max(text[at], 0.0), 1.0)
        out[at, 1] = min(max(ties[item] / ties_scale, 0.0), 1.0)
        out[at, 2] = min(max(path, 0.0), 1.0)
        out[at, 3] = np.exp(-abs(price_z[item] - level))
        out[at, 4] = min(max(scene, 0.0), 1.0)
        out[at, 5] = quality[item]
