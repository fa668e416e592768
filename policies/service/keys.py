"""API keys, of which only hashes are kept.

A key is 256 random bits, so one SHA-256 is enough: there is nothing to guess that a slow hash would
protect. A line of the keys file is ``NAME ROLE sha256:HEX``; `#` begins a comment. Roles: `read`
asks for shelves and sends feedback, `admin` may also change the bundle.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from envs.errors import UserError

Role = Literal["read", "admin"]
#: The environment variable that holds lines of keys, separated by newlines or semicolons.
VARIABLE = "SHELFTALK_KEYS"

#: Each has a bucket of its own for its rate.
MOST_KEYS = 1_000

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Key:
    """A key that the service knows, without the key itself."""

    name: str
    role: Role
    #: SHA-256 of the key, 32 bytes.
    digest: bytes

    @property
    def line(self) -> str:
        """As it stands in a keys file."""
        return f"{self.name} {self.role} sha256:{self.digest.hex()}"


def make_key(name: str, role: Role) -> tuple[str, Key]:
    """Return a new key, which is shown once, and what is kept of it."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"service-key {name!r}: a name has 1 to 64 letters, digits, dots, dashes or underscores"
        )
    key = f"sk_{secrets.token_urlsafe(32)}"
    return key, Key(name, role, _digest(key))


def find_key(keys: Sequence[Key], presented: str) -> Key | None:
    """Return the key that was presented; takes the same time whichever it is, or none."""
    digest, found = _digest(presented), None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


def read_keys(file: Path | None, variable: str | None) -> tuple[Key, ...]:
    """Return the keys of a file, or those of the environment variable's text where there is none.

    Raises:
        UserError: the file cannot be read, or a line breaks the form.
    """
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"--keys {file}: cannot be read ({error})") from error
        return _parsed(text, f"--keys {file}")
    return _parsed((variable or "").replace(";", "\n"), f"environment variable {VARIABLE}")


def _parsed(text: str, source: str) -> tuple[Key, ...]:
    keys: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        parts = line.split()
        if (
            len(parts) != 3
            or not _NAME.fullmatch(parts[0])
            or parts[1] not in get_args(Role)
            or not _HASH.fullmatch(parts[2])
        ):
            # The line is not repeated: somebody may have put a key there.
            raise UserError(
                f"{source}: line {number} must read NAME ROLE sha256:HEX with a role of "
                f"{' or '.join(get_args(Role))}; `shelftalk service-key` prints such a line"
            )
        if parts[0] in keys:
            raise UserError(f"{source}: line {number} names {parts[0]!r} a second time; rename one")
        role: Role = "admin" if parts[1] == "admin" else "read"
        keys[parts[0]] = Key(parts[0], role, bytes.fromhex(parts[2].removeprefix("sha256:")))
    if len(keys) > MOST_KEYS:
        raise UserError(f"{source}: it has {len(keys)} keys; {MOST_KEYS} are the most")
    if not keys and source.startswith("--keys"):
        raise UserError(f"{source}: it holds no key; `shelftalk service-key` prints a line for it")
    return tuple(keys.values())


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
