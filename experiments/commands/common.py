"""What the commands share: their common options, and reading a config before anything heavy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envs.errors import UserError

if TYPE_CHECKING:
    from experiments.config import Config

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="YAML file; docs/config.md explains every key.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a bundle.")]
Out = Annotated[Path | None, typer.Option(help="Run folder.  [default: runs/NAME]")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=c", help="Override a setting; may be repeated."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Override the seed of the config.")]
Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="PATH", help="Write the result as JSON; - is stdout."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]


def read_config(path: Path, overrides: list[str] | None, seed: int | None) -> Config:
    """Return the config of a file with the overrides of the command line."""
    from experiments.config import Config
    from experiments.config_io import load_config

    changed = [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    return load_config(Config, path, changed)


def limit_threads() -> None:
    """Give torch as many threads as help it, unless the environment says how many.

    Small models gain nothing from more threads, and beside other work spinning ones cost dear.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(4, torch.multiprocessing.cpu_count()))


def column_pair(entry: str) -> tuple[str, str]:
    """Return the two sides of a `--map ours=theirs`."""
    ours, equals, theirs = entry.partition("=")
    if not (ours and equals and theirs):
        raise UserError(
            f"--map {entry}: must have the form ours=theirs, for example item_id=action"
        )
    return ours, theirs
