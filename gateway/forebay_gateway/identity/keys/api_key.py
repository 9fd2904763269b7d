"""An API key: what its owner holds, and what the gateway knows of it. Pure."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

PREFIX = "fbk_"
MOST_BYTES = 256

_ID_BYTES = 6
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the file has it: `sha256` is the secret's; `expires` None: never."""

    key_id: str
    sha256: bytes
    tenant: str
    subject: str
    roles: tuple[str, ...]
    created: datetime | None = None
    expires: datetime | None = None

    def is_expired(self, now: float) -> bool:
        """`now` is in seconds of Unix time."""
        return self.expires is not None and now >= self.expires.timestamp()


def is_api_key(token: str) -> bool:
    """Whether the token is meant for an API key."""
    return token.startswith(PREFIX)


def read_token(token: str) -> tuple[str, bytes] | None:
    """The id and the SHA-256 of the secret; None if the text is no API key."""
    if len(token) > MOST_BYTES or not token.isascii() or token.count("_") < 2:
        return None
    _, key_id, secret = token.split("_", 2)
    return key_id, hashlib.sha256(secret.encode()).digest()


def new_key(
    tenant: str, roles: tuple[str, ...], subject: str | None, expires: datetime | None
) -> tuple[ApiKey, str]:
    """A new key, and its token, which is not stored. The subject is by default the key's id."""
    key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
    digest = hashlib.sha256(secret.encode()).digest()
    created = datetime.now(UTC).replace(microsecond=0)
    key = ApiKey(key_id, digest, tenant, subject or key_id, roles, created, expires)
    return key, f"{PREFIX}{key_id}_{secret}"
