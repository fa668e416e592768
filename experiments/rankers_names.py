"""Which rankers can be trained side by side, and what is what in the table; light to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.listed_names import read_names

#: The ranker as the config has it, which all others are compared with, and the same one trained on
#: the page at hand alone.
LONG, MYOPIC = "long", "myopic_trained"
#: Variant -> what it changes in the section ``rank`` of the config.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    LONG: {},
    MYOPIC: {"gamma": 0.0},
    "undiscounted": {"gamma": 1.0},
    "attention": {"scorer": {"kind": "attention"}},
    "linear": {"scorer": {"kind": "linear"}},
}
#: Ends of the way whose gone share the table tells: what a shop has today, and the best that each
#: page can be by itself.
START, END = "similarity", "myopic"
#: Baselines that are too slow to serve many sessions.
SLOW = ("rollout",)
#: Folder of the comparison inside the folder of its run; its last stage, and what that writes.
FOLDER, TABLE, MARKDOWN, HTML = "rankers", "table", "table.md", "table.html"


def read_variants(listed: str) -> tuple[str, ...]:
    """Return the variants of a comma-separated list, each once, in order.

    Raises:
        UserError: a name that is none, or no name at all.
    """
    return read_names("--variants", listed, VARIANTS, "variant")


def baseline_name(policy: str) -> str:
    """Return the name of the stage of a baseline."""
    return f"baseline_{policy}"
