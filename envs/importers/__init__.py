"""Real sources turned into catalogues and feedback logs."""
