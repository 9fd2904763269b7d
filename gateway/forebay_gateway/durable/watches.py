"""Hearing of the calls that this gateway watches: one pub/sub channel for all of them.

Pub/sub loses what is said while a connection is away, so the ledger is asked about
every watched call when the channel has been subscribed anew, and once in a while
anyway; asking renews the watch's lease as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence

from forebay.errors import BackendUnavailable, ForebayError
from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import (
    BatchHeartbeat,
    CallEvent,
    Lost,
    Reply,
    RequestWindowOpen,
    parse_frame,
)
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Refusal, Refused
from forebay_backends.ledger.operations.calls import CallSnapshot, watch
from forebay_backends.ledger.pubsub import listen
from forebay_backends.ledger.scripts import LEASE_S
from forebay_gateway.durable.item_sequence import ItemSequence
from forebay_gateway.durable.ledger_retry import RETRY_FOR_S

LOOK_EVERY_S = LEASE_S / 3
_LOOKS_A_ROUND_TRIP = 200
_LOOK_AGAIN_AFTER_S = 1.0
_ITEMS_LOST = Refused(Refusal.GAP)  # the record has fewer items than the gateway delivered

_log = logging.getLogger(__name__)


class Watch(AutoResetEvent):
    """One caller's view of a call: its delivery, and a bell that rings when there is news."""

    def __init__(self, delivery: ItemSequence) -> None:
        super().__init__()
        self.delivery = delivery
        self.registered = False
        """Whether the ledger knows of the watch; from then on it is renewed."""
        self.confirmed_in = 0
        """The subscription under which the ledger was last asked where the call stands."""
        self.room = AutoResetEvent()
        """Rings when the handler of a live call has read the requests that it had."""
        self._failed: ForebayError | None = None
        self._told: CallSnapshot | Refused | BackendUnavailable | None = None

    def tell(self, told: CallSnapshot | Refused | BackendUnavailable) -> None:
        """The ledger's word on the call, or that there will be none."""
        self._told = told
        self.set()

    def fail(self, error: ForebayError) -> None:
        """The requests can't be received any further."""
        self._failed = error
        self.set()

    def go_on(self) -> None:
        """Raises what `fail` was told."""
        if self._failed is not None:
            raise self._failed

    def snapshot(self) -> CallSnapshot | Refused | None:
        """The ledger's latest word, once; raises BackendUnavailable where it is away for long."""
        told, self._told = self._told, None
        if isinstance(told, BackendUnavailable):
            raise told
        return told


class Watches:
    """The gateway's channel, and who is to hear what comes over it."""

    def __init__(self, ledger: Ledger, ledger_url: str, channel: str) -> None:
        self.channel = channel
        self._ledger = ledger
        self._ledger_url = ledger_url
        self.on_reply: Callable[[bytes], None] = lambda payload: None
        """Hears the answers to ephemeral calls."""
        self.on_batch_heartbeat: Callable[[BatchHeartbeat], None] = lambda holding: None
        """Hears which worker has ephemeral calls."""
        self.on_lost: Callable[[Lost], None] = lambda lost: None
        """Hears which batch of ephemeral calls a worker lost."""
        self.on_event: Callable[[str, CallEvent], None] = lambda key, event: None
        """Hears of calls, for those who look on and watch none."""
        self._watches: dict[str, list[Watch]] = {}
        self._subscribed = asyncio.Event()
        self._look_now = AutoResetEvent()
        self._answered_at = 0.0
        self.subscription = 0
        """How many times the channel was subscribed."""

    @contextlib.contextmanager
    def open(self, call: CallKey, watch: Watch) -> Iterator[None]:
        """The watch hears of the call until the block is left."""
        watches = self._watches.setdefault(str(call), [])
        watches.append(watch)
        try:
            yield
        finally:
            watches.remove(watch)
            if not watches:
                del self._watches[str(call)]

    def asked(self, watch: Watch) -> None:
        """The ledger is being asked about the call, and told of the watch.

        What is said of the call from now on counts: it may end before there is an answer.
        """
        watch.confirmed_in = self.subscription

    def registered(self, watch: Watch) -> None:
        """The ledger has answered; from now on the watch is renewed."""
        watch.registered = True
        if watch.confirmed_in != self.subscription:
            self._look_now.set()

    def watched(self, call: CallKey) -> bool:
        """Whether anyone here watches the call."""
        return str(call) in self._watches

    def wake_all(self) -> None:
        """Wakes every watch."""
        for watches in self._watches.values():
            for one in watches:
                one.set()

    def confirmed(self, watch: Watch) -> bool:
        """Whether the ledger has said where the call stands since it was away.

        A ledger that comes back may have lost the last moments: until it has been asked,
        what it has under the call's id may be another run's.
        """
        return self._subscribed.is_set() and watch.confirmed_in == self.subscription

    async def look_after(self) -> None:
        """Until cancelled, renews all watches and tells each where its call stands.

        Whatever the callers do meanwhile: one who is slow has not left. Where the ledger
        is away for longer than anyone is patient, they are told that.
        """
        self._answered_at = time.monotonic()
        pause_s = LOOK_EVERY_S
        while True:
            await self._look_now.wait(pause_s)
            pause_s = LOOK_EVERY_S
            try:
                await self._look_at_all()
            except BackendUnavailable as error:
                _log.warning("the ledger does not answer; not renewed: %s", error.__cause__)
                pause_s = _LOOK_AGAIN_AFTER_S
                self._despair(error)
            except Exception:  # a fault of ours must not end the looking
                _log.exception("looking after watches failed")

    async def _look_at_all(self) -> None:
        keys = [key for key, all_ in self._watches.items() if any(w.registered for w in all_)]
        for start in range(0, len(keys), _LOOKS_A_ROUND_TRIP):
            await self._look(keys[start : start + _LOOKS_A_ROUND_TRIP])
        self._answered_at = time.monotonic()

    async def _look(self, keys: Sequence[str]) -> None:
        asked_in = self.subscription
        had = {
            one: one.delivery.tail
            for key in keys
            for one in self._watches.get(key, ())
            if one.registered
        }
        snapshots = await self._ledger.run_all(
            [watch(CallKey.parse(key), self.channel) for key in keys]
        )
        for key, snapshot in zip(keys, snapshots, strict=True):
            for one in self._watches.get(key, ()):
                if one in had:
                    one.confirmed_in = asked_in
                    lost = isinstance(snapshot, CallSnapshot) and snapshot.count < had[one]
                    one.tell(_ITEMS_LOST if lost else snapshot)

    def _despair(self, error: BackendUnavailable) -> None:
        if time.monotonic() - self._answered_at < RETRY_FOR_S:
            return
        for watches in self._watches.values():
            for one in watches:
                if one.registered:
                    one.tell(error)

    async def subscribed(self) -> None:
        """Returns when the channel is being heard."""
        await self._subscribed.wait()

    async def listen(self) -> None:
        """Hears the channel until cancelled."""
        await listen(
            self._ledger_url,
            [self.channel],
            on_frame=self._on_frame,
            on_subscribed=self._on_subscribed,
            on_broken=self._subscribed.clear,
        )

    def _on_subscribed(self) -> None:
        self.subscription += 1
        self._subscribed.set()
        self._look_now.set()

    def _on_frame(self, frame: bytes) -> None:
        key, event = parse_frame(frame)
        if isinstance(event, Reply):
            self.on_reply(event.payload)
        elif isinstance(event, BatchHeartbeat):
            self.on_batch_heartbeat(event)
        elif isinstance(event, Lost):
            self.on_lost(event)
        else:
            self._on_event(key, event)

    def _on_event(self, key: str, event: CallEvent) -> None:
        for one in self._watches.get(key, ()):
            if isinstance(event, RequestWindowOpen):
                one.room.set()
            elif self.confirmed(one):
                one.delivery.on_event(event)
                one.set()
        self.on_event(key, event)
