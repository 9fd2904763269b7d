"""An RPC without a request."""

from __future__ import annotations

import grpc


class NoRequest:
    """Implements `Requests`."""

    async def read(self) -> object:
        return grpc.aio.EOF

    def read_now(self) -> None:
        """None: there is none."""
