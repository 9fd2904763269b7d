"""The interface by which the guard verifies tokens: JWTs, and API keys."""

from __future__ import annotations

from typing import Protocol

from forebay_gateway.identity.principal import Principal


class TokenVerifier(Protocol):
    """Verifies the tokens of one kind; `token` is what follows `Bearer `."""

    def takes(self, token: str) -> bool:
        """Whether the token is of this kind."""

    def remembered(self, token: str) -> Principal | None:
        """The principal of a token that was verified before and is still good; else None."""

    def is_in_force(self, principal: Principal) -> bool:
        """Whether the key that proved the principal is still known here, and unchanged."""

    async def verify(self, token: str) -> Principal:
        """Verifies the token; raises Unauthenticated, whose message never shows the token.

        Raises BackendUnavailable while the keys of the token's issuer are not known.
        """
