"""Prometheus metrics, summed over workers.

In prometheus-client's multiprocess mode each worker keeps its numbers in files of a shared folder
(the environment variable PROMETHEUS_MULTIPROC_DIR, set before this is imported), and whichever
worker is asked adds them up.
"""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Counter(
    "shelftalk_requests", "Requests answered, by route and status.", ["route", "status"]
)
SECONDS = Histogram(
    "shelftalk_request_seconds", "Seconds from request to answer, by route.", ["route"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)  # fmt: skip
SLATES = Counter("shelftalk_slates", "Shelves stored and answered, by scene.", ["scene"])
EVENTS = Counter("shelftalk_feedback_events", "Feedback events, by outcome.", ["outcome"])
STORE_ERRORS = Counter("shelftalk_store_errors", "Groups of writes that the store refused.")
COMMIT_SECONDS = Histogram(
    "shelftalk_store_commit_seconds", "Seconds of one group commit.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0),
)  # fmt: skip
LIVE = Counter(
    "shelftalk_live_reasons", "Reasons that the book lacked, by what became of them.", ["outcome"]
)
RELOADS = Counter("shelftalk_reloads", "Changes of bundle, by outcome.", ["outcome"])
BUNDLE = Gauge(
    "shelftalk_bundle", "Workers that serve a bundle, by its name and id.", ["name", "id"],
    multiprocess_mode="livesum",
)  # fmt: skip


def exposition() -> bytes:
    """Return all metrics as Prometheus reads them."""
    if FOLDER_VARIABLE not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
