"""What a policy thinks of each token of its completions: log-probs, entropies, states before it.

A policy that writes knows all of that at once; texts from elsewhere are read for it
(`policies.reasoner.groups`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Trace:
    """B completions of T tokens each; what stands behind their ends means nothing."""

    #: Log-probs of the tokens at the sampling temperature, (B, T) float32.
    logps: Tensor
    #: Entropies of what each token was chosen from, (B, T) float32; 0 wide where not asked for.
    entropies: Tensor
    #: The model's last hidden states before each token, (B, T, H) float32; H 0 as above.
    states: Tensor

    def of_length(self, length: int) -> Trace:
        """Return the trace cut off, or filled up with zeros, to ``length`` tokens."""

        def fitted(x: Tensor) -> Tensor:
            missing = max(0, length - x.size(1))
            return pad(x, (0, 0) * (x.dim() - 2) + (0, missing))[:, :length]

        return Trace(*(fitted(getattr(self, field.name)) for field in fields(self)))

    @staticmethod
    def joined(parts: list[Trace]) -> Trace:
        """Return the traces of several groups of rows, all of one length, as one."""
        columns = ([getattr(part, field.name) for part in parts] for field in fields(Trace))
        return Trace(*(torch.cat(column) for column in columns))


def last_states(output: Any) -> Tensor:
    """Return the last hidden states of a pass, ``(B, S, H) float32``; H is 0 if not asked for."""
    if output.hidden_states is None:
        return output.logits.new_empty(*output.logits.shape[:2], 0)
    return output.hidden_states[-1].float()


def log_chances(logits: Tensor, temperature: float) -> Tensor:
    """Return the log-probs of all tokens at ``temperature``, ``(..., V) float32``."""
    return (logits.float() / temperature).log_softmax(dim=-1)


def entropies(log_all: Tensor) -> Tensor:
    """Return the entropies, ``(...) float32``, of log-probs ``(..., V)``."""
    return -(log_all.exp() * log_all).sum(dim=-1)


def chosen(log_all: Tensor, tokens: Tensor) -> Tensor:
    """Return the entries of ``log_all (..., V)`` that belong to ``tokens (...) int64``."""
    return log_all.gather(-1, tokens[..., None]).squeeze(-1)


class Recorder:
    """Takes down what is thought while a text is written, a step at a time."""

    def __init__(self, rows: int, steps: int, temperature: float, want_states: bool) -> None:
        """Make room for ``rows`` completions of at most ``steps`` tokens."""
        self.want_states = want_states
        self._shape, self._temperature = (rows, steps), temperature
        self._trace: Trace | None = None

    def note(self, rows: Tensor, step: int, logits: Tensor, states: Tensor, tokens: Tensor) -> None:
        """Note a step of ``rows (L,)``: logits ``(L, V)``, states ``(L, H)``, tokens ``(L,)``."""
        if self._trace is None:
            flat = logits.new_zeros(self._shape, dtype=torch.float32)
            self._trace = Trace(flat, flat.clone(), flat.new_zeros(*self._shape, states.size(-1)))
        log_all = log_chances(logits, self._temperature)
        self._trace.logps[rows, step] = chosen(log_all, tokens)
        self._trace.entropies[rows, step] = entropies(log_all)
        self._trace.states[rows, step] = states

    def trace(self) -> Trace:
        """Return what was noted."""
        assert self._trace is not None, "nothing was written"
        return self._trace
