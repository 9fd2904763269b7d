"""Calls that are records in the ledger, or live beside them, and what looks after them all."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from importlib.metadata import version
from typing import Any

from forebay.routes import Method
from forebay_backends.broker.dispatcher import dispatcher
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import gateway_channel
from forebay_backends.settings import Settings
from forebay_gateway.admin.services import AdminServices
from forebay_gateway.durable.calls import DurableCalls
from forebay_gateway.durable.watches import Watches
from forebay_gateway.ephemeral.calls import EphemeralCalls
from forebay_gateway.fleet.monitor import FleetMonitor, Health
from forebay_gateway.fleet.route_warnings import watch_routes
from forebay_gateway.rpc.incoming import Context, IncomingCall
from forebay_gateway.rpc.uuid7 import uuid7

_FIRST_SUBSCRIPTION_S = 5.0

_log = logging.getLogger(__name__)


class LedgerCalls:
    """Serves calls of Forebay's own handlers. One object a gateway that has such methods.

    `methods` are all that the gateway serves: the call service tells of plain tasks, too.
    """

    def __init__(self, settings: Settings, methods: Sequence[Method], *, is_open: bool) -> None:
        backends = settings.backends()
        self._ledger = Ledger(backends.ledger_url)
        self.broker = dispatcher(backends, self._ledger)
        queues = {method.route.queue for method in methods if not method.is_plain}
        self.fleet = FleetMonitor(self._ledger, self.broker, queues, settings.retention_bytes)
        name = f"{socket.gethostname()}.{os.getpid()}.{uuid7()}"
        watches = self._watches = Watches(self._ledger, backends.ledger_url, gateway_channel(name))
        self._durable = DurableCalls(settings, self._ledger, self.broker, watches, self.fleet.slots)
        self._ephemeral = EphemeralCalls(
            settings, self._ledger, self.broker, self.fleet, watches.channel
        )
        watches.on_reply = self._ephemeral.on_reply
        watches.on_batch_heartbeat = self._ephemeral.on_batch_heartbeat
        watches.on_lost = self._ephemeral.on_lost
        self._methods = methods
        self.admin = AdminServices(
            self._ledger, self.broker, self.fleet, watches, methods, is_open=is_open
        )

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes | None:
        """Serves a call that was admitted, or attaches to one."""
        if incoming.ephemeral:
            return await self._ephemeral.serve(incoming, context)
        return await self._durable.serve(incoming, context)

    async def knows(self, call_id: str) -> bool:
        """Whether the id stands for a call."""
        return await self._durable.exists(call_id)

    def loops(
        self, on_health: Callable[[Health], Awaitable[None]]
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on as long as the gateway does."""
        yield self._watches.listen()
        yield self._watches.renew_periodically()
        yield self._ephemeral.look_after()
        yield self.fleet.watch_over(on_health)
        yield self.fleet.reap()
        yield self.admin.watch_rates()
        yield watch_routes(self._methods, self.fleet, version("forebay"))

    async def subscribed(self) -> None:
        """Returns when the gateway hears of its calls, or after a while without a ledger."""
        try:
            async with asyncio.timeout(_FIRST_SUBSCRIPTION_S):
                await self._watches.subscribed()
        except TimeoutError:
            _log.warning("the ledger does not answer; serving, and trying on")

    def cut(self) -> None:
        """Ends what still waits, to go on elsewhere."""
        self.admin.abort_remaining()
        self._durable.abort_remaining()
        self._ephemeral.abort_remaining()

    async def join(self) -> None:
        """Returns when what was begun for calls that are over has ended."""
        await self._durable.join()

    async def close(self) -> None:
        """Closes all connections."""
        await self.broker.close()
        await self._ledger.close()
