"""Keeps the notes, bars and renamed-argument warnings of the model libraries off the terminal."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import transformers.utils.logging as hf_logging


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence transformers' notes and bars: progress goes through our callback, errors raise."""
    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        # TRL 1.16 reads and sets names that transformers 5.23 has renamed; both ends are pinned.
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", ".*gradient_checkpointing. is deprecated", FutureWarning
            )
            # PEFT 0.21 takes a layer that AdaLoRA gave no rank for one that was not gathered, and
            # reads AdaLoRA's rank pattern as if it were LoRA's.
            warnings.filterwarnings("ignore", ".*have invalid shape")
            warnings.filterwarnings("ignore", ".*rank_pattern keys did not match", RuntimeWarning)
            # GPT-2 keeps its matrices transposed; PEFT 0.21 notices, does right, and says so.
            warnings.filterwarnings("ignore", ".*fan_in_fan_out is set to False")
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()
