"""Supervised writing: prompts, corpus, base model, training."""
