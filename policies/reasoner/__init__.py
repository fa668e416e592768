"""The reason writer: generation, the reason book, and PPO on TRL."""
