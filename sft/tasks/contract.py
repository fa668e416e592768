"""What every writing task has: a prompt of its input, and the text of a reference answer."""

from __future__ import annotations

from typing import Protocol, TypeVar

Given = TypeVar("Given", contravariant=True)
Told = TypeVar("Told", contravariant=True)


class Task(Protocol[Given, Told]):
    """A writing task; both methods are pure functions of their frozen arguments.

    A prompt is one line of fields, ``title | key: value | ... | task ->``; that of a reason names
    no task. Text from outside passes `sft.tasks.text.clean` on its way in, so that it holds none
    of the marks between fields.
    """

    @property
    def name(self) -> str:
        """Name of the task: ``reason``, ``tags``, ``description``, ``review``,
        ``review_summary``."""

    def prompt(self, given: Given) -> str:
        """Return what the model reads, one line that ends in ``->``."""

    def target(self, told: Told) -> str:
        """Return what the model should write."""
