"""An RPC without a request."""

from __future__ import annotations

import grpc


class NoRequest:
    """The empty stream of requests; implements `Requests`."""

    async def read(self) -> object:
        return grpc.aio.EOF

    def read_now(self) -> None:
        """Returns None: there is no request to read."""
