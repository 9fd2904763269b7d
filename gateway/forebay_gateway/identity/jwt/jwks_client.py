"""Fetches a JWKS document by HTTP."""

from __future__ import annotations

import asyncio
import ssl

import httpcore

from forebay.errors import BackendUnavailable
from forebay_gateway.identity.jwt.jwks import MOST_BYTES

FETCH_S = 10.0
"""The time limit of a whole fetch, in case a server sends a byte a second."""

_OPERATION_S = 5.0
_HEADERS: dict[bytes | str, bytes | str] = {
    "accept": "application/jwk-set+json, application/json",
    "accept-encoding": "identity",
}


class JwksClient:
    """Fetches the document at a URL. Each fetch has a new connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._shown = url.partition("?")[0]  # the query of some issuers' URLs has a client's secret
        self._tls: ssl.SSLContext | None = None

    async def fetch(self) -> bytes:
        """The document; raises BackendUnavailable. Redirects are not followed."""
        try:
            async with asyncio.timeout(FETCH_S):
                return await self._fetch()
        except TimeoutError:
            raise BackendUnavailable(f"{self._shown} did not answer within {FETCH_S:g} s") from None
        except (OSError, httpcore.TimeoutException) as error:
            raise BackendUnavailable(f"{self._shown}: {type(error).__name__}: {error}") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise BackendUnavailable(f"{self._shown}: {error}") from error

    async def _fetch(self) -> bytes:
        if self._tls is None:
            # In a thread, because reading the system's certificates takes up to 50 ms.
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        limits = dict.fromkeys(("connect", "read", "write", "pool"), _OPERATION_S)
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._tls) as pool,
            pool.stream(
                "GET", self._url, headers=_HEADERS, extensions={"timeout": limits}
            ) as response,
        ):
            if response.status != 200:
                raise BackendUnavailable(
                    f"{self._shown} answered with the status {response.status}"
                )
            found = bytearray()
            async for chunk in response.aiter_stream():
                found += chunk
                if len(found) > MOST_BYTES:
                    raise BackendUnavailable(f"{self._shown} sent more than {MOST_BYTES} bytes")
            return bytes(found)
