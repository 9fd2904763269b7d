"""The order in which tenants' plain tasks are sent: a call waits for its turn in a fair queue."""

from __future__ import annotations

import asyncio

from forebay.errors import QueueWait
from forebay_backends.aio.cancellation import cancel_all
from forebay_gateway.admission.admission import TenantAccount
from forebay_gateway.fair_queues.fair_queue import QueueEntry
from forebay_gateway.fair_queues.fair_queues import FairQueues
from forebay_gateway.plain.in_flight import PlainCall
from forebay_gateway.rpc.incoming import IncomingCall


class Turn(QueueEntry):
    """A call's place in its tenant's queue; `account` has counted it."""

    def __init__(self, queue: str, priority: int, account: TenantAccount) -> None:
        self.queue = queue
        self.tenant = account.name
        self.priority = priority
        self.account = account
        self._comes = asyncio.Event()

    def send(self) -> None:
        """Lets the call send its task."""
        self._comes.set()

    async def wait(self, call: PlainCall) -> None:
        """Returns when the task may be sent; raises the call's error if the call ends first."""
        if self.is_held:
            try:
                async with asyncio.timeout(call.max_silence_s):
                    await _either(self._comes, call.changed)
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
    wait = tenant.wait_begins()
    if wait is not None:
        await wait
    turn = Turn(incoming.method.route.queue, incoming.options.priority, tenant)
    fair.enter(turn)
    return turn


async def _either(one: asyncio.Event, other: asyncio.Event) -> None:
    """Returns when one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_all(waits)
