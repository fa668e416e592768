"""What computes a bundle's scores: ONNX Runtime, torch for a comparison, or the plain mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from envs.errors import UserError
from envs.observation import ITEM_FEATURES
from envs.similarity import SCORES
from policies.bundle_files import ONNX

F32 = NDArray[np.float32]
Backend = Literal["onnx", "torch"]
#: From context (B, C_ctx), items (B, N, F) and mask (B, N) to logits (B, N) float32.
Logits = Callable[[dict[str, F32]], F32]

_INPUTS = ("context", "items", "mask")
_SIX = [ITEM_FEATURES.index(name) for name in SCORES]
#: The logit of a candidate that may not be shown, as in `policies.ranker.plackett_luce`.
_MASKED = np.float32(-1e9)


def load_logits(folder: Path, backend: Backend) -> Logits:
    """Open a bundle's ranker.

    Raises:
        UserError: for an unknown backend, or a file that is no ranker.
    """
    if backend == "onnx":
        return _onnx_logits(folder)
    if backend == "torch":
        return _torch_logits(folder)
    raise UserError(f"backend must be 'onnx' or 'torch', but is {backend!r}")


def similarity_logits(observation: dict[str, F32]) -> F32:
    """Return the equal-weight mean of the six scores, (B, N): the ranker to beat."""
    mean = observation["items"][..., _SIX].mean(axis=-1)
    return np.where(observation["mask"] > 0, mean, _MASKED)


def _onnx_logits(folder: Path) -> Logits:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a shelf is too small to share among threads
    session = onnxruntime.InferenceSession(
        str(folder / ONNX), options, providers=["CPUExecutionProvider"]
    )
    return lambda observation: session.run(["logits"], {n: observation[n] for n in _INPUTS})[0]


def _torch_logits(folder: Path) -> Logits:
    import torch

    from policies.ranker.scorer import load_scorer

    scorer = load_scorer(folder / "ranker")

    def logits(observation: dict[str, F32]) -> F32:
        with torch.no_grad():
            return scorer.logits(*(torch.from_numpy(observation[n]) for n in _INPUTS)).numpy()

    return logits
