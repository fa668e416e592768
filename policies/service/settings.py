"""What `shelftalk serve` takes, and the checks before anything starts."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from envs.errors import UserError
from envs.settings import Settings

if TYPE_CHECKING:
    from policies.logging_policies import LoggingPolicy


class ServiceSettings(Settings):
    """How the service runs; every worker reads the same."""

    bundle: Path
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)
    store: str = "sqlite:///shelftalk.db"
    """URL of the store, as SQLAlchemy writes them."""
    keys: Path | None = None
    """File with lines of keys; the environment variable where None."""
    explore: str | None = None
    """``RULE:NUMBER``; None shows the best shelf."""
    rate: float = Field(1000.0, gt=0)
    """Requests a second for each key, over all workers."""
    max_bytes: int = Field(262_144, ge=1_024)
    """Largest body of a request."""
    timeout: float = Field(5.0, gt=0)
    """Seconds for a request's body to come, and again for its answer to be made."""
    live: bool = False
    """Whether the bundle's language model writes reasons that the book lacks."""
    live_deadline: float = Field(0.15, gt=0, le=5)
    """Seconds that a shelf waits for them."""


def exploration(text: str | None) -> LoggingPolicy | None:
    """Return the rule that ``RULE:NUMBER`` names, None for None.

    Raises:
        UserError: there is no such rule, or the number is out of its range.
    """
    if text is None:
        return None
    # Heavy to import, and the supervisor needs none of it.
    from policies.logging_policies import EpsilonMixed, Explore, PlackettLuce

    rules = {"plackett_luce": PlackettLuce, "epsilon": EpsilonMixed, "explore": Explore}
    name, _, number = text.partition(":")
    try:
        rule, value = rules[name], float(number)
    except (KeyError, ValueError):
        raise UserError(
            f"--explore {text}: must be plackett_luce:TEMPERATURE, epsilon:CHANCE or "
            "explore:CHANCE, for example plackett_luce:0.25"
        ) from None
    try:
        return rule(value)
    except UserError as error:
        raise UserError(f"--explore {text}: {error}") from None


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_keys(host: str, keys: int) -> None:
    """Raise `UserError` where a service without keys would be open to other machines."""
    if not keys and not is_loopback(host):
        raise UserError(
            f"--host {host}: without keys the service binds to a loopback address only; make one "
            "with `shelftalk service-key NAME`, put its line into a file and give --keys FILE"
        )


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, which all workers share.

    Raises:
        UserError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"--host {host}: cannot be used ({error.strerror})") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise UserError(
            f"--port {port}: {host} port {port} cannot be listened on ({error.strerror}); stop "
            "what uses it, or give another"
        ) from error
    return listening
