"""The order in which tenants' plain tasks are sent: a call waits for its turn in a fair queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from forebay.errors import QueueWait
from forebay_backends.aio.cancellation import cancel_all
from forebay_gateway.fair_queues.fair_queue import QueueEntry
from forebay_gateway.fair_queues.fair_queues import FairQueues
from forebay_gateway.plain.in_flight import PlainCall
from forebay_gateway.rpc.incoming import IncomingCall


@dataclass(frozen=True)
class Turn:
    """A call's place in its tenant's queue; `comes` is set when it is the call's turn."""

    entry: QueueEntry
    comes: asyncio.Event

    async def wait(self, call: PlainCall) -> None:
        """Returns when the task may be sent; raises the call's error if the call ends first."""
        if self.entry.is_held:
            try:
                async with asyncio.timeout(call.max_silence_s):
                    await _either(self.comes, call.changed)
            except TimeoutError:
                raise QueueWait("no worker was free for the call in time") from None
            call.raise_error()


async def take_turn(fair: FairQueues, incoming: IncomingCall) -> Turn | None:
    """A place in the queue of the caller's tenant; None if there are no tenants.

    Raises QuotaExceeded. The caller must call `FairQueues.leave` afterwards.
    """
    tenant = incoming.permit.tenant
    if tenant is None:
        return None
    comes = asyncio.Event()
    queue, priority = incoming.method.route.queue, incoming.options.priority
    wait = tenant.wait_begins()
    if wait is not None:
        await wait
    entry = QueueEntry(queue, tenant.name, priority, comes.set, on_begun=tenant.wait_ends)
    fair.enter(entry)
    return Turn(entry, comes)


async def _either(one: asyncio.Event, other: asyncio.Event) -> None:
    """Returns when one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_all(waits)
