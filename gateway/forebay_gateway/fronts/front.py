"""The part of a front that the gateway knows."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Front(Protocol):
    """Listens from the moment it is made; each method is called from one event loop."""

    @property
    def address(self) -> str:
        """HOST:PORT, or `unix:PATH`."""

    async def start(self) -> None:
        """Accepts connections from now on."""

    async def keep_serving(self) -> None:
        """Repairs what fails, until it is cancelled."""

    async def stop(self, grace_s: float) -> None:
        """Closes the port, sends each connection a GOAWAY, and gives RPCs in flight the grace.

        May be called again, with a shorter grace. Cancel `keep_serving` first.
        """


class _NoFront:
    """Serves nobody."""

    address = "unix:"

    async def start(self) -> None:
        pass

    async def keep_serving(self) -> None:
        await asyncio.Event().wait()

    async def stop(self, grace_s: float) -> None:
        pass


NO_FRONT: Front = _NoFront()
"""The front of a gateway whose handlers another application serves."""
