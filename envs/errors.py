"""The one exception that means "the user can mend this", shown as a line, never a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave us: a file, a setting, an argument.

    The message says what is wrong, where, the rule, the value met and how to mend it, in one
    line. The command line prints it on stderr and exits with code 2.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name closest to ``name``, or ``""``."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""
