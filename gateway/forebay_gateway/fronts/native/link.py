"""The interface by which an RPC uses its connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.fronts.native.http2 import Connection
from forebay_gateway.fronts.native.requests import FlowControl

Rpc_contra = TypeVar("Rpc_contra", contravariant=True)


class Link(FlowControl, Protocol[Rpc_contra]):
    """The part of a connection that an RPC, of the class `Rpc_contra`, needs."""

    h2: Connection
    limits: FrontLimits
    peer: str
    auth_context: Mapping[str, Iterable[bytes]]

    def flush_soon(self, *, forgive: bool = False) -> None:
        """Sends what there is at the end of this turn of the event loop.

        `forgive`: this answers a call, so earlier pings no longer count as too many.
        """

    async def wait_for_room(self, rpc: Rpc_contra, size: int) -> None:
        """Returns when no more of the RPC's responses wait, or the RPC is over."""

    def on_queued(self) -> None:
        """Called when a response waits to be sent."""

    def on_finished(self, rpc: Rpc_contra) -> None:
        """Called when the status of the RPC is on its way."""
