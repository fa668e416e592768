"""``python -m experiments`` is the command line."""

from experiments.cli import app

app()
