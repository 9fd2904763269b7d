"""What a JWT says before its signature is verified. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from forebay.errors import Unauthenticated

_FORBIDDEN = ("crit", "jku", "jwk", "x5u")
"""Headers that would change how a token is verified, or bring their own key."""


@dataclass(frozen=True)
class UnverifiedToken:
    """The parts of a token that say how to verify it; none may be trusted yet."""

    issuer: str
    algorithm: str
    key_id: str | None


def read_token(token: str) -> UnverifiedToken:
    """Raises Unauthenticated for what is no JWT, or has a header that no token needs."""
    try:
        found = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.DecodeError, ValueError, RecursionError):
        raise Unauthenticated("the token is not a well-formed JWT") from None
    except jwt.PyJWTError:
        raise Unauthenticated(
            "the token has a header `crit` or `kid` that is not accepted"
        ) from None
    header: Mapping[str, Any] = found["header"]
    for name in _FORBIDDEN:
        if name in header:
            raise Unauthenticated(f"the token has the header `{name}`, which is not accepted")
    algorithm, issuer = header.get("alg"), found["payload"].get("iss")
    if not isinstance(algorithm, str):
        raise Unauthenticated("the token names no algorithm")
    if not isinstance(issuer, str):
        raise Unauthenticated("the token has no claim `iss`")
    return UnverifiedToken(issuer, algorithm, header.get("kid"))
