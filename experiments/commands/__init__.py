"""The commands of `shelftalk`, a file for each kind of job; `experiments.cli` gathers them."""
