"""Durable calls: each has a record in the ledger, and any caller with its id can attach to it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from forebay_backends.broker.base import Broker
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_backends.settings import Settings
from forebay_gateway.durable.accept import Acceptor
from forebay_gateway.durable.cached_runs import CachedRuns
from forebay_gateway.durable.call_messages import CallMessages
from forebay_gateway.durable.delayed_calls import DelayedCalls
from forebay_gateway.durable.disconnect import Disconnects
from forebay_gateway.durable.durable_rpc import DurableRpc
from forebay_gateway.durable.held_calls import HeldCalls
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.parts import DurableParts
from forebay_gateway.durable.watches import Watches
from forebay_gateway.fair_queues.fair_queues import FairQueues
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.incoming import IncomingCall


class DurableCalls:
    """Serves durable calls. One object a gateway."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        broker: Broker,
        watches: Watches,
        slots: Callable[[str], int],
        metrics: GatewayMetrics,
        fair: FairQueues,
        queues: Collection[str],
        has_tenants: bool,
    ) -> None:
        retry, pipeliner, channel = LedgerRetry(), Pipeliner(ledger), watches.channel
        acceptor = Acceptor(ledger, pipeliner, broker, channel, slots, metrics)
        self.held = HeldCalls(ledger, pipeliner, broker, acceptor, fair, channel, queues)
        self.delayed = DelayedCalls(
            ledger, broker, self.held if has_tenants else None, settings.max_delayed_calls
        )
        cached = CachedRuns(ledger, acceptor, settings, channel)
        disconnects = Disconnects(ledger, pipeliner, watches, retry, cached)
        self._parts = DurableParts(
            *(settings, ledger, watches, retry, acceptor, self.held, self.delayed, cached),
            *(disconnects, CallMessages(ledger, broker, disconnects)),
        )

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes | None:
        """Accepts the call, or attaches to it, and sends its items until it has ended.

        Returns a unary method's response.
        """
        return await DurableRpc(self._parts, incoming, context).serve()

    async def accept(self, incoming: IncomingCall, context: Context) -> tuple[CallKey, str]:
        """Accepts the call, or attaches to it, and does not wait for its items.

        Returns the call's key, and the value of `forebay-attached`.
        """
        return await DurableRpc(self._parts, incoming, context).accept()

    async def exists(self, call: CallKey) -> bool:
        """Whether the ledger has the call. Renews the lease of this gateway's watch on it."""
        return await self._parts.has_call(call)

    async def can_join(self, incoming: IncomingCall) -> bool:
        """Whether the call would join an existing run, which is then watched for one lease."""
        return await self._parts.cached.join(incoming) is not None

    def abort_remaining(self) -> None:
        """Ends the RPCs that are still open with `Draining`; their calls go on."""
        self._parts.ledger_retry.drain()
        self._parts.watches.notify_all()

    async def join(self) -> None:
        """Hands waiting calls over to other gateways; reports to the ledger that callers have left.

        Returns after a limited time even if the ledger does not answer.
        """
        await self.held.hand_over()
        await self._parts.disconnects.join()
