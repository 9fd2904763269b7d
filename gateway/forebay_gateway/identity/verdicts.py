"""Remembers checked tokens by their SHA-256; it does not keep the tokens themselves."""

from __future__ import annotations

from collections import OrderedDict

from forebay_gateway.identity.principal import Principal

MOST_TOKENS = 10_000
MOST_FORGERIES = 1_000


class Verdicts:
    """The principals of verified tokens, and the tokens whose signature was wrong.

    Both are limited: good tokens are dropped when least recently used, forgeries when oldest.
    Forgeries are kept apart, so that they never push out good tokens. No other reason for a refusal
    is remembered, since the same token may be good later. `now` is in seconds of Unix time.
    """

    def __init__(self) -> None:
        self._good: OrderedDict[bytes, Principal] = OrderedDict()
        self._forged: OrderedDict[bytes, None] = OrderedDict()

    def principal(self, digest: bytes, now: float) -> Principal | None:
        """The principal of a verified token; None if the token is not known or has expired."""
        found = self._good.get(digest)
        if found is None:
            return None
        if found.expires_at is not None and now >= found.expires_at:
            del self._good[digest]
            return None
        self._good.move_to_end(digest)
        return found

    def add(self, digest: bytes, principal: Principal) -> None:
        self._good[digest] = principal
        if len(self._good) > MOST_TOKENS:
            self._good.popitem(last=False)

    def is_forged(self, digest: bytes) -> bool:
        return digest in self._forged

    def add_forged(self, digest: bytes) -> None:
        self._forged[digest] = None
        if len(self._forged) > MOST_FORGERIES:
            self._forged.popitem(last=False)
