"""Remembers checked tokens by their SHA-256; it does not keep the tokens themselves."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from forebay_gateway.identity.principal import Principal

MOST_TOKENS = 10_000
MOST_FORGERIES = 1_000


class KeySource(Protocol):
    """A file or URL of keys. When the keys have changed, `keys` is a new object."""

    @property
    def keys(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """The principal of a verified token. It holds while the source has the same keys."""

    principal: Principal
    source: KeySource
    keys: object


class Verdicts:
    """The verdicts on good tokens; the least recently used are dropped.

    No reason for a refusal is remembered, since the same token may be good later.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()

    def principal(self, token: str, now: float) -> Principal | None:
        """The principal of a verified token; None if the token is not known, or not good any more.

        `now` is in seconds of Unix time.
        """
        digest = sha256(token)
        verdict = self._known.get(digest)
        if verdict is None:
            return None
        expires_at = verdict.principal.expires_at
        if verdict.source.keys is not verdict.keys or (
            expires_at is not None and now >= expires_at
        ):
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return verdict.principal

    def add(self, token: str, verdict: Verdict) -> None:
        self._known[sha256(token)] = verdict
        if len(self._known) > MOST_TOKENS:
            self._known.popitem(last=False)


class Forgeries:
    """The tokens whose signature is wrong; the oldest are dropped.

    They are kept apart from the verdicts, so that they never push out good tokens.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, token: str) -> bool:
        return sha256(token) in self._known

    def add(self, token: str) -> None:
        self._known[sha256(token)] = None
        if len(self._known) > MOST_FORGERIES:
            self._known.popitem(last=False)


def sha256(token: str) -> bytes:
    """The token's digest; a header can be any text, and no two texts have the same bytes."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
