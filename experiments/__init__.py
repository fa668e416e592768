"""What people run: the command line, the pipeline, simulation, evaluation, report."""
