"""Measured figures, one file a subject."""
