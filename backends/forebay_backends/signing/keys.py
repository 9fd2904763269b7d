"""The keys that sign messages, read from a TOML file. Pure.

    [keys]
    2026-11 = "32 random bytes in base64"
    2026-05 = "…"

The first key signs, and all of them verify. So keys rotate without a pause: add the new one behind
the old one at every process, move it to the front, and remove the old one.
"""

from __future__ import annotations

import re
import tomllib
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field

LEAST_BYTES = 32
"""As many as the HMAC's hash has: fewer would be easier to guess, more add nothing."""
SAME_KEYS = "give all gateways and workers the same signing keys: docs/hardening.md has the order"
"""How to fix a mismatch."""
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAKE_ONE = "make one by `openssl rand -base64 32`"


@dataclass(frozen=True)
class SigningKeys:
    """Secrets by their ids; the first one signs."""

    secrets: dict[str, bytes] = field(repr=False)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids in the order of the file: the first key signs."""
        return tuple(self.secrets)


def parse_keys(text: str) -> SigningKeys:
    """Raises ValueError, whose message shows no part of a key."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        # Its message may quote the line, with the key in it.
        raise ValueError('it is not TOML; expected [keys], then ID = "BASE64" a line') from None
    keys = content.get("keys")
    if set(content) != {"keys"} or not isinstance(keys, dict) or not keys:
        raise ValueError('expected only the table [keys], with at least one ID = "BASE64"')
    return SigningKeys({name: _secret(name, value) for name, value in keys.items()})


def _secret(name: str, value: object) -> bytes:
    if not _ID.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} is not a valid key id; expected 1 to 64 of A-Z, a-z, 0-9 and . _ - (in "
            'quotes if there is a dot, such as "2026.11")'
        )
    try:
        secret = b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        secret = b""
    if len(secret) < LEAST_BYTES:
        raise ValueError(f"key {name}: expected {LEAST_BYTES} bytes or more in base64; {_MAKE_ONE}")
    return secret


def mismatch(ours: Sequence[str], theirs: Sequence[str]) -> str | None:
    """Why a worker with the key ids `theirs` can't work with a gateway with the key ids `ours`.

    None if it can.
    """
    if not theirs:
        return "has no signing keys" if ours else None
    if not ours:
        return f"signs with {theirs[0]}, and no signing_keys are set here"
    if ours[0] not in theirs:
        return f"does not have {ours[0]}, which signs here"
    if theirs[0] not in ours:
        return f"signs with {theirs[0]}, which is not among the signing keys here"
    return None
