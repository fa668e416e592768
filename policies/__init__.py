"""What acts: the ranker, the reasoner, baselines and exported bundles."""
