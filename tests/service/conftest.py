"""A small bundle, a service over it in this process, and how its requests are made."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from envs.assemble import open_shop, synthetic_visitors
from envs.observation import CONTEXT_FEATURES, ITEM_FEATURES
from envs.shoppers import ShopperConfig
from envs.similarity import SCORES, SimilarityConfig
from envs.synthetic import SyntheticConfig
from policies.bundle import BundleSettings
from policies.bundle_export import export_bundle
from policies.ranker.config import ScorerConfig
from policies.ranker.scorer import SlateScorer
from policies.reasoner.book import write_book
from policies.service.logs import JsonLog
from policies.service.schema import create_store, open_engine
from policies.service.settings import ServiceSettings
from policies.service.worker import Service, build
from rewards.claims import ClaimChecker


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle of 40 items; its ranker was never trained."""
    rng = np.random.default_rng(5)
    visitors = synthetic_visitors(SyntheticConfig(items=40), ShopperConfig(shoppers=30), rng)
    shop = open_shop(visitors, SimilarityConfig(pool=30), rng)
    catalogue = visitors.catalogue
    book, _ = write_book(
        catalogue, visitors.profiles, ClaimChecker(catalogue), None, np.arange(40), rng
    )
    generator = torch.Generator().manual_seed(3)
    config = ScorerConfig(baseline_features=SCORES)
    scorer = SlateScorer(config, ITEM_FEATURES, CONTEXT_FEATURES, generator).eval()
    path = tmp_path_factory.mktemp("bundle") / "bundle"
    with warnings.catch_warnings():
        # torch.export calls functions that torch itself has deprecated (seen with torch 2.13).
        warnings.simplefilter("ignore")
        export_bundle(
            path, shop=shop, book=book, scorer=scorer, reasoner=None,
            settings=BundleSettings(slots=4, pool=20), metrics={}, name="small",
        )  # fmt: skip
    return path


class Client:
    """Requests to a service in this process."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make one request."""
        return self.ask_all([(method, path, options)])[0]

    def ask_all(self, asked: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Make requests side by side."""

        async def run() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.service.app, raise_app_exceptions=True)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                return await asyncio.gather(*(client.request(m, p, **o) for m, p, o in asked))

        return asyncio.run(run())

    def shelf(self, **body: Any) -> dict[str, Any]:
        """Ask for a shelf, which must come."""
        response = self.ask("POST", "/v1/shelf", json=body)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def feedback(self, *events: dict[str, Any]) -> httpx.Response:
        """Send events."""
        return self.ask("POST", "/v1/feedback", json={"events": list(events)})


@contextlib.contextmanager
def running(settings: ServiceSettings, folder: Path, log: JsonLog) -> Iterator[Client]:
    """Build the service in this process."""
    create_store(open_engine(settings.store))
    service = build(settings, folder, log)
    try:
        yield Client(service)
    finally:
        service.close()


@pytest.fixture(scope="module")
def client(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A service without keys over a store of its own, shared by the tests of one file."""
    folder = tmp_path_factory.mktemp("service")
    settings = ServiceSettings(bundle=bundle_path, store=f"sqlite:///{folder}/store.db")
    with running(settings, folder, JsonLog(b"secret")) as made:
        yield made
