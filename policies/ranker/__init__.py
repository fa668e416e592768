"""The slate ranker: a permutation-equivariant scorer under a Plackett-Luce distribution."""
