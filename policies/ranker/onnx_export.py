"""The scorer as ONNX, compared with the original before anyone relies on it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from envs.files import atomic_path
from policies.ranker.scorer import SlateScorer

#: Largest difference of a logit or value that counts as the same.
TOLERANCE = 1e-5

# (batch, candidates) on which the export is compared: neither is a size it was traced with.
_SIZES = ((1, 5), (2, 20), (9, 64))


def export_onnx(scorer: SlateScorer, path: Path) -> float:
    """Write ``path`` (inputs context, items, mask; outputs logits, value) and return its error.

    Batch and candidates are dynamic. The error is the largest absolute difference from torch
    over three sizes, relative to values above one. Raises RuntimeError above `TOLERANCE`;
    nothing is written then.
    """
    scorer = scorer.eval()
    with atomic_path(path) as temporary:
        _export(scorer, temporary)
        error = max(_difference(scorer, temporary, *size) for size in _SIZES)
        if error > TOLERANCE:
            raise RuntimeError(f"ONNX export of the ranker is off by {error:.1e}")
    return error


def _export(scorer: SlateScorer, path: Path) -> None:
    batch, candidates = torch.export.Dim("batch"), torch.export.Dim("candidates")
    with warnings.catch_warnings(), _silent_exporter():
        # Three inputs share the batch axis on purpose; the exporter remarks on each.
        warnings.filterwarnings("ignore", message="# The axis name: .* will not be used")
        # torch 2.13's own exporter calls what torch 2.13 deprecates; nothing here can mend it.
        warnings.filterwarnings("ignore", message=".*treespec, LeafSpec", category=FutureWarning)
        program = torch.onnx.export(
            scorer,
            _example(scorer, 3, 7),
            dynamo=True,
            verbose=False,
            input_names=["context", "items", "mask"],
            output_names=["logits", "value"],
            dynamic_shapes={
                "context": {0: batch},
                "items": {0: batch, 1: candidates},
                "mask": {0: batch, 1: candidates},
            },
        )
    assert program is not None
    model = program.model_proto
    _strip_traces(model)
    onnx.save(model, path)


def _strip_traces(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes: they name source files of the machine that exported."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info,
                 *model.graph.input, *model.graph.output, *model.graph.initializer):  # fmt: skip
        del part.metadata_props[:]
        part.doc_string = ""


@contextmanager
def _silent_exporter() -> Iterator[None]:
    """Keep the exporter from remarking that packages which nobody needs here are missing."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _example(scorer: SlateScorer, rows: int, candidates: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(rows)
    spread = 3.0
    item_shape = (rows, candidates, len(scorer.item_features))
    items = scorer.item_mean.numpy() + spread * scorer.item_scale.numpy() * rng.standard_normal(
        item_shape
    )
    context = scorer.context_mean.numpy() + spread * scorer.context_scale.numpy() * (
        rng.standard_normal((rows, len(scorer.context_features)))
    )
    mask = rng.random((rows, candidates)) < 0.8
    mask[:, 0] = True
    return (
        torch.from_numpy(context.astype(np.float32)),
        torch.from_numpy(items.astype(np.float32)),
        torch.from_numpy(mask.astype(np.float32)),
    )


def _difference(scorer: SlateScorer, path: Path, rows: int, candidates: int) -> float:
    import onnxruntime

    inputs = _example(scorer, rows, candidates)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = ("context", "items", "mask")
    found = session.run(["logits", "value"], {n: t.numpy() for n, t in zip(names, inputs)})
    with torch.no_grad():
        wanted = scorer(*inputs)
    return max(
        float((np.abs(f - w.numpy()) / np.maximum(1.0, np.abs(w.numpy()))).max())
        for f, w in zip(found, wanted)
    )
