"""What can be compared, and what it is called; light enough to be read before anything heavy."""

from __future__ import annotations

from experiments.listed_names import read_names

#: What all algorithms are compared with, and start from.
BASELINE = "sft"
#: Reinforcement learning, by TRL's names and ours.
TRAINED = ("ppo", "grpo", "rloo")
#: All: reinforcement learning, the best of several SFT texts, no model at all.
ALGORITHMS = (*TRAINED, "best_of", "rules")
#: Folder of a comparison inside the folder of its run; its last stage, and what that writes.
FOLDER, TABLE, MARKDOWN, HTML = "comparison", "table", "table.md", "table.html"


def read_algorithms(listed: str) -> tuple[str, ...]:
    """Return the algorithms of a comma-separated list, each once, in order.

    Raises:
        UserError: a name that is none, or no name at all.
    """
    return read_names("--algorithms", listed, ALGORITHMS, "algorithm")


def cell_name(algorithm: str, seed: int) -> str:
    """Return the name of the stage of an algorithm and a seed."""
    return f"{algorithm}_{seed}"
