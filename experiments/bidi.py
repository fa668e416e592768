"""Marks that turn text around, on a page that shows others' texts: written out, not obeyed.

Escaping does not touch them: a title that begins with a right-to-left override turns around
whatever follows on its line, such as the price. Who reviews a run should see that a catalogue holds
them.
"""

from __future__ import annotations

import re

#: Embeddings, overrides, isolates and their ends (Unicode Standard Annex 9).
_MARKS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def unturned(page: str) -> str:
    """Return HTML with each such mark as its code, as in ``[U+202E]``; our own texts have none."""
    return _MARKS.sub(lambda mark: f"[U+{ord(mark[0]):04X}]", page)
