"""What a protocol of the web front is."""

from __future__ import annotations

import typing

from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.web.exchange import Exchange
from forebay_gateway.web.methods import WebMethod


class Protocol(typing.Protocol):
    """A way to call a method by one request of HTTP."""

    content_types: tuple[str, ...]
    """Of requests, for the answer to those that no protocol takes."""

    def takes(self, exchange: Exchange, method: WebMethod) -> bool:
        """Whether the request is of this protocol; looks at its head alone."""

    async def serve(self, exchange: Exchange, method: WebMethod, limits: FrontLimits) -> None:
        """Serves the request, by `serve_rpc`."""
