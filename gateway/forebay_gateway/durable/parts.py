"""The parts of a gateway that all RPCs on durable calls use."""

from __future__ import annotations

from dataclasses import dataclass

from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.calls import watch
from forebay_backends.settings import Settings
from forebay_gateway.durable.accept import Acceptor
from forebay_gateway.durable.cached_runs import CachedRuns
from forebay_gateway.durable.call_messages import CallMessages
from forebay_gateway.durable.delayed_calls import DelayedCalls
from forebay_gateway.durable.disconnect import Disconnects
from forebay_gateway.durable.held_calls import HeldCalls
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.watches import Watches


@dataclass(frozen=True)
class DurableParts:
    """The shared parts; a gateway has one of each."""

    settings: Settings
    ledger: Ledger
    watches: Watches
    ledger_retry: LedgerRetry
    acceptor: Acceptor
    held: HeldCalls
    delayed: DelayedCalls
    cached: CachedRuns
    disconnects: Disconnects
    messages: CallMessages

    async def has_call(self, call: CallKey) -> bool:
        """Whether the ledger has the call. Renews the lease of this gateway's watch on it."""
        snapshot = await self.ledger.run(watch(call, self.watches.channel))
        return not isinstance(snapshot, Refused)
