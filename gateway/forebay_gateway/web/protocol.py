"""What a protocol of the web front is."""

from __future__ import annotations

import typing

from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.web.exchange import Exchange
from forebay_gateway.web.methods import WebMethod


class Protocol(typing.Protocol):
    """A way to call a method by one HTTP request."""

    content_types: tuple[str, ...]
    """The content types of its requests, to list where no protocol accepts a request."""

    def takes(self, exchange: Exchange, method: WebMethod) -> bool:
        """Whether the request is of this protocol; looks only at its head."""

    async def serve(self, exchange: Exchange, method: WebMethod, limits: FrontLimits) -> None:
        """Serves the request, by `serve_rpc`."""
