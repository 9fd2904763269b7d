"""Finds out who makes an RPC: by a token, or else by the certificate of its connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from forebay.errors import Unauthenticated
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.tokens import TokenVerifier

AuthContext = Mapping[str, Iterable[bytes]]
PrincipalOfCertificate = Callable[[AuthContext], Principal | None]

_HEADER, _SCHEME = "authorization", "bearer "
_SCHEME_END = len(_SCHEME)


class Caller(Protocol):
    """The part of a `Context` that shows who calls."""

    def auth_context(self) -> AuthContext: ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


class Authentication:
    """Turns callers into principals; a token takes precedence over a certificate.

    A caller that shows a bad token is refused, whatever its certificate says.
    """

    def __init__(
        self, tokens: TokenVerifier | None, of_certificate: PrincipalOfCertificate | None
    ) -> None:
        self._tokens = tokens
        self._of_certificate = of_certificate

    def known(self, caller: Caller) -> Principal | None:
        """The caller; None if its token has to be verified first. Raises Unauthenticated."""
        token = bearer_token(caller.invocation_metadata() or ())
        if token is None:
            return self._certified(caller.auth_context())
        return None if self._tokens is None else self._tokens.remembered(token)

    async def verified(self, caller: Caller) -> Principal:
        """The caller, who is not `known` yet, by its token.

        Raises Unauthenticated; whatever the verifier raises while it can't tell.
        """
        token = bearer_token(caller.invocation_metadata() or ())
        if token is None or self._tokens is None or not self._tokens.takes(token):
            raise Unauthenticated("tokens of this kind are not accepted here")
        return await self._tokens.verify(token)

    def _certified(self, auth_context: AuthContext) -> Principal:
        found = None if self._of_certificate is None else self._of_certificate(auth_context)
        if found is None:
            raise Unauthenticated(f"no identity was given: {self._expected}")
        if found.expires_at is not None and found.expires_at <= time.time():
            raise Unauthenticated("the certificate of this connection has expired: connect again")
        return found

    @property
    def _expected(self) -> str:
        ways = []
        if self._tokens is not None:
            ways.append(f"send `{_HEADER}: Bearer TOKEN`")
        if self._of_certificate is not None:
            ways.append("connect with a client certificate that has a known SPIFFE ID")
        return ", or ".join(ways)


def bearer_token(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """The token of the only `authorization` header; None without one. Raises Unauthenticated."""
    given: str | bytes | None = None
    for key, value in metadata:
        if key == _HEADER:
            if given is not None:
                raise Unauthenticated(f"expected one `{_HEADER}` header; there are several")
            given = value
    if given is None:
        return None
    text = given if isinstance(given, str) else ""
    scheme, token = text[:_SCHEME_END], text[_SCHEME_END:]
    if scheme.lower() != _SCHEME or not token:
        raise Unauthenticated(f"expected `{_HEADER}: Bearer TOKEN`; it has another form")
    return token
