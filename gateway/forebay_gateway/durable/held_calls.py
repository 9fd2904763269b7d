"""Durable calls in the queues of their tenants: a call whose turn it is not has no message yet.

Its record is written at once and says so, so that nothing is lost if the gateway dies: another
gateway takes the call over. Calls stay here until they end, also those whose RPC is over: they keep
their place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar

from forebay.errors import BackendUnavailable
from forebay.routes import Method
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.broker.base import Broker, ledger_push
from forebay_backends.broker.task_messages import TaskMessage, call_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending, GatewayFrame
from forebay_backends.ledger.keys import PARTITIONS, CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.base import Operation, Refusal, Refused
from forebay_backends.ledger.operations.calls import NewCall
from forebay_backends.ledger.operations.held import (
    HeldCall,
    adopt_held,
    hand_over_held,
    renew_held,
    send_held,
)
from forebay_backends.ledger.operations.inspection import observe
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_backends.ledger.scripts import RENEWAL_INTERVAL_S
from forebay_backends.telemetry.call_labels import about_call
from forebay_gateway.admission.admission import TenantAccount
from forebay_gateway.durable.accept import Acceptor
from forebay_gateway.fair_queues.fair_queue import QueueEntry
from forebay_gateway.fair_queues.fair_queues import FairQueues

_PER_OPERATION = 500
_PER_ROUND_TRIP = 200
_RETRY_S = 1.0
_HAND_OVER_S = 2.0

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(eq=False)
class Turn(QueueEntry):
    """A call's place in its tenant's queue, among the `held` calls.

    `account`, `method` and `new` are None if the call was taken over.
    """

    held: HeldCalls
    call: CallKey
    task: str
    attempt: int
    queue: str
    priority: int
    traceparent: str
    account: TenantAccount | None = None
    method: Method | None = None
    new: NewCall | None = None
    is_stored: asyncio.Event = field(default_factory=asyncio.Event)
    has_rpc: bool = True

    def __post_init__(self) -> None:
        self.tenant = self.call.owner

    def send(self) -> None:
        """Sends the message in the background, as soon as the record is stored."""
        self.held.send(self)

    def cost(self) -> float:
        return 1 / self.held.batch_size(self)

    @property
    def message(self) -> TaskMessage:
        """The task message of this call alone."""
        return call_message(
            self.call,
            self.attempt,
            task=self.task,
            queue=self.queue,
            priority=self.priority,
            traceparent=self.traceparent,
        )


class HeldCalls:
    """The turns of a gateway's durable calls. `queues` are those that it serves."""

    def __init__(
        self,
        ledger: Ledger,
        pipeliner: Pipeliner,
        broker: Broker,
        acceptor: Acceptor,
        fair: FairQueues,
        channel: str,
        queues: Collection[str],
    ) -> None:
        self._ledger = ledger
        self._pipeliner = pipeliner
        self._broker = broker
        self._acceptor = acceptor
        self._fair = fair
        self._channel = channel
        self._queues = sorted(queues)
        self._turns: dict[str, Turn] = {}
        self._is_closing = False
        self._background_tasks = BackgroundTasks()
        self._outage = OutageLog(
            _log,
            "messages of tenants' calls can't be sent; they are kept, and retried",
            "messages of tenants' calls are sent again",
        )

    async def turn(
        self, tenant: TenantAccount, call: CallKey, method: Method, new: NewCall
    ) -> Turn:
        """A turn for a new call, which is not in the queue yet; raises QuotaExceeded.

        `leave` or `on_rpc_end` must follow.
        """
        wait = tenant.wait_begins()
        if wait is not None:
            await wait
        return Turn(
            *(self, call, new.task, 1, new.queue, new.priority, new.traceparent),
            *(tenant, method, new),
        )

    def enter(self, turn: Turn) -> None:
        """Puts the call into the queue. If it is held then, its message is sent later."""
        self._fair.enter(turn)

    def on_stored(self, turn: Turn) -> None:
        """The ledger has the record, and knows whether the message is held back."""
        self._turns[str(turn.call)] = turn
        turn.is_stored.set()

    def leave(self, turn: Turn) -> None:
        """Removes a call that has ended or was not accepted; may be called twice."""
        turn.is_stored.set()
        if self._turns.get(str(turn.call)) is turn:
            del self._turns[str(turn.call)]
            self._acceptor.on_ended(turn.call, None)
        self._fair.leave(turn)

    def on_rpc_end(self, turn: Turn, ending: Ending | None) -> None:
        """The RPC that made the call is over; the call may go on, and keeps its place then."""
        if ending is not None or not turn.is_stored.is_set():
            self.leave(turn)
        elif not turn.is_gone:
            turn.has_rpc = False
            self._background_tasks.start(self._observe([turn]))

    def on_frame(self, key: str, frame: GatewayFrame) -> None:
        """Handles a frame of the gateway's channel: a call that has ended frees its slot."""
        if isinstance(frame, Ending):
            turn = self._turns.get(key)
            if turn is not None:
                self._acceptor.on_ended(turn.call, frame)
                self.leave(turn)

    async def run(self) -> None:
        """Renews the holds, and takes over those of gateways that died, until cancelled."""
        await run_periodically(
            RENEWAL_INTERVAL_S, self._renew, _log, "renewing held calls", retry_interval_s=_RETRY_S
        )

    async def hand_over(self) -> None:
        """Lets other gateways take over the calls that wait here; gives up after a while.

        They look every few seconds, and after a lease a worker's reaper sends what none has taken.
        """
        self._is_closing = True
        held = [turn for turn in self._turns.values() if turn.is_held]
        try:
            async with asyncio.timeout(_HAND_OVER_S):
                await self._run_by_partition(held, hand_over_held)
        except (BackendUnavailable, TimeoutError):
            _log.debug("%d calls are taken over when their holds expire", len(held))
        for turn in held:
            self.leave(turn)

    def send(self, turn: Turn) -> None:
        """Sends the message of a call in the background."""
        self._background_tasks.start(self._send(turn))

    def batch_size(self, turn: Turn) -> int:
        """The most calls like this one that a message names."""
        if turn.method is None or turn.new is None:
            return 1
        return self._acceptor.batch_size(turn.method, turn.new)

    async def _send(self, turn: Turn) -> None:
        """Sends the message, which was held back; retries while the call waits."""
        await turn.is_stored.wait()
        while not turn.is_gone:
            try:
                if not turn.has_rpc:  # its end frees the place for the next call
                    await self._observe([turn])
                refused = await self._sent(turn)
            except BackendUnavailable as error:
                self._outage.failed(error)
                await asyncio.sleep(_RETRY_S)
            except Exception:  # a bug must not leave the call in its place
                with about_call(
                    turn.call.id,
                    turn.attempt,
                    traceparent=turn.traceparent,
                    tenant=turn.call.owner,
                ):
                    _log.exception("call %s: its message could not be sent", turn.call)
                self.leave(turn)
            else:
                self._outage.succeeded()
                if refused is not None and _is_over(refused.why):
                    self.leave(turn)
                return

    async def _sent(self, turn: Turn) -> Refused | None:
        method, new = turn.method, turn.new
        if method is not None and new is not None and self._acceptor.batches(method, new):
            return await self._acceptor.send_in_batch(turn.call, method, new)
        push = ledger_push(self._broker, turn.message)
        refused = await self._pipeliner.run(send_held(turn.call, push))
        is_queued = refused is None or refused.why is State.QUEUED
        if is_queued and not self._broker.is_ledger:
            await self._broker.send(turn.message)
        return refused

    async def _renew(self) -> None:
        if self._is_closing:
            return
        await self._renew_holds([turn for turn in self._turns.values() if turn.is_held])
        sent = [turn for turn in self._turns.values() if not turn.has_rpc and not turn.is_held]
        for some in chunks(sent, _PER_ROUND_TRIP):
            await self._observe(some)
        await self._adopt()

    async def _renew_holds(self, turns: Sequence[Turn]) -> None:
        for gone in await self._run_by_partition(turns, renew_held):
            for call in gone:
                turn = self._turns.get(str(call))
                if turn is not None and turn.is_held:  # else its message was sent just now
                    self.leave(turn)

    async def _run_by_partition(
        self, turns: Sequence[Turn], make: Callable[..., Operation[list[CallKey]]]
    ) -> list[list[CallKey]]:
        """Runs `renew_held` or `hand_over_held` on the calls of each partition."""

        def partition(turn: Turn) -> str:
            return turn.call.partition

        operations = [
            make(name, [(turn.queue, turn.call) for turn in some])
            for name, found in groupby(sorted(turns, key=partition), partition)
            for some in chunks(list(found), _PER_OPERATION)
        ]
        return await self._ledger.run_all(operations) if operations else []

    async def _observe(self, turns: Sequence[Turn]) -> None:
        """Gets the ends of calls that no RPC of this gateway may watch any more."""
        try:
            found = await self._ledger.run_all(
                [observe(turn.call, self._channel) for turn in turns]
            )
        except BackendUnavailable:
            return  # the next renewal observes them
        for turn, state in zip(turns, found, strict=True):
            if _is_over(state.why if isinstance(state, Refused) else state.state):
                self.leave(turn)

    async def _adopt(self) -> None:
        found = await self._ledger.run_all(
            [adopt_held(number, self._queues) for number in range(PARTITIONS)]
        )
        for one in (one for some in found for one in some):
            if str(one.call) not in self._turns:
                self.take_over(one)

    def take_over(self, one: HeldCall) -> None:
        """Puts a call, whose message is held back, into the queue of its tenant here."""
        turn = Turn(
            *(self, one.call, one.task, one.attempt, one.queue, one.priority, one.traceparent)
        )
        turn.has_rpc = False
        self.on_stored(turn)
        self.enter(turn)
        if not turn.is_held:
            self.send(turn)


def _is_over(state: State | Refusal) -> bool:
    """Whether a call in this state has ended, or does not exist."""
    return state.terminal if isinstance(state, State) else state is Refusal.UNKNOWN


def chunks(all_of_them: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Parts of at most that size, in order."""
    for start in range(0, len(all_of_them), size):
        yield all_of_them[start : start + size]
