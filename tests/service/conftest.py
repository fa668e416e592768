"""A small bundle, a service over it in this process, and how its requests are made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from policies.service.logs import JsonLog
from policies.service.schema import create_store, open_engine
from policies.service.settings import ServiceSettings
from policies.service.worker import Service, build
from tests.policies.bundle_at_hand import make_bundle


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle without a language model; its ranker was never trained."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "bundle", None).path


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
    # Patient, because the machine may have much else to do.
    settings = ServiceSettings(bundle=bundle_path, store=f"sqlite:///{folder}/store.db", timeout=60)
    with running(settings, folder, JsonLog(b"secret")) as made:
        yield made
