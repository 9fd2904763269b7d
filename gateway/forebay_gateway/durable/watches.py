"""The watches of this gateway, and the one pub/sub channel that carries all their events.

Pub/sub loses events while the connection is down. So the gateway reads the state of every
watched call from the ledger after each new subscription, and every `LEASE_CHECK_INTERVAL_S`;
the same operation renews the watch's lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from forebay.errors import BackendUnavailable
from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.errors import RETRY_AFTER_S, RETRY_FOR_S
from forebay_backends.ledger.frames import (
    BatchHeartbeat,
    CallEvent,
    Ending,
    GatewayFrame,
    Lost,
    Recall,
    Reply,
    RequestWindowOpen,
    parse_frame,
)
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Refusal, Refused
from forebay_backends.ledger.operations.calls import CallSnapshot, watch
from forebay_backends.ledger.pubsub import listen
from forebay_backends.ledger.scripts import LEASE_S
from forebay_backends.signing.keyring import SignatureError
from forebay_backends.urls import RedisServer
from forebay_gateway.durable.watch import Watch

LEASE_CHECK_INTERVAL_S = LEASE_S / 3
"""How often a call's state is read from the ledger, if no event caused it earlier."""
_SUBSCRIPTION_TIMEOUT_S = 1.0
"""How long a new call waits for the subscription; a broken one is renewed after 0.2 s."""
_RENEWALS_PER_ROUND_TRIP = 200
_RENEWAL_RETRY_DELAY_S = 1.0
_ITEMS_LOST = Refused(Refusal.GAP)  # the record has fewer items than were received from it

_log = logging.getLogger(__name__)


OnFrame = Callable[[str, Any], None]
"""Called with a call's key, or "" if the frame is not about one call, and with the frame."""


class Watches:
    """The gateway's channel, and the watches that receive its events."""

    def __init__(self, ledger: Ledger, server: RedisServer | str, channel: str) -> None:
        self.channel = channel
        self._ledger = ledger
        self._server = server
        self._listeners: dict[type[GatewayFrame], list[OnFrame]] = {}
        self._watches: dict[str, list[Watch]] = {}
        self._subscribed = asyncio.Event()
        self._renew_now = AutoResetEvent()
        self._renewed_at = 0.0
        self._unconfirmed: set[str] = set()
        self._confirm_now = AutoResetEvent()
        self.subscription = 0
        """How many times the channel was subscribed."""

    def listen_to(self, *kinds: type[GatewayFrame], on_frame: OnFrame) -> None:
        """Passes the frames of these kinds to the function."""
        for kind in kinds:
            self._listeners.setdefault(kind, []).append(on_frame)

    @contextlib.contextmanager
    def open(self, watch: Watch) -> Iterator[None]:
        """Passes the call's events to the watch until the block is left."""
        self._watches.setdefault(str(watch.call), []).append(watch)
        try:
            yield
        finally:
            self._close(watch)

    def move(self, watch: Watch, call: CallKey) -> None:
        """Switches the open watch to the events of another call."""
        self._close(watch)
        watch.call = call
        self._watches.setdefault(str(call), []).append(watch)

    def _close(self, watch: Watch) -> None:
        watches = self._watches[str(watch.call)]
        watches.remove(watch)
        if not watches:
            del self._watches[str(watch.call)]

    def on_registering(self, watch: Watch) -> None:
        """Must be called before an accept or attach is sent.

        Events are accepted from now on, since the call may end before the ledger's reply arrives.
        """
        watch.confirmed_subscription = self.subscription

    def on_registered(self, watch: Watch) -> None:
        """Must be called when the accept or attach has succeeded: starts the renewal."""
        watch.is_registered = True
        if watch.confirmed_subscription != self.subscription:
            self._renew_now.set()
        elif watch.has_unconfirmed_event:
            self._confirm(str(watch.call))

    @property
    def count(self) -> int:
        """How many watches are open."""
        return sum(len(watches) for watches in self._watches.values())

    def is_watched(self, call: CallKey) -> bool:
        """Whether an RPC of this gateway watches the call."""
        return str(call) in self._watches

    def notify_all(self) -> None:
        """Wakes the RPCs of all watches."""
        for watches in self._watches.values():
            for one in watches:
                one.set()

    def is_confirmed(self, watch: Watch) -> bool:
        """Whether the ledger has reported the call's state since the channel was subscribed.

        A ledger that comes back may have lost its last writes. Until it has reported the call's
        state, the items under the call's id may be those of another run.
        """
        return self._subscribed.is_set() and watch.confirmed_subscription == self.subscription

    async def renew_periodically(self) -> None:
        """Renews all watches until cancelled, and passes each the state of its call.

        A watch is renewed even if its caller reads nothing: a slow caller has not disconnected.
        If the ledger is unavailable for `RETRY_FOR_S`, all watches get the error.
        """
        self._renewed_at = time.monotonic()
        await run_periodically(
            LEASE_CHECK_INTERVAL_S,
            self._renew_all,
            _log,
            "renewing watches",
            retry_interval_s=_RENEWAL_RETRY_DELAY_S,
            wake=self._renew_now,
        )

    async def confirm_events(self) -> None:
        """Reads the state of each call that had an event without a signature, until cancelled.

        If messages are not signed, no event needs this. A read that fails triggers a renewal.
        """
        while True:
            await self._confirm_now.wait()
            keys, self._unconfirmed = list(self._unconfirmed), set()
            try:
                for start in range(0, len(keys), _RENEWALS_PER_ROUND_TRIP):
                    await self._renew(keys[start : start + _RENEWALS_PER_ROUND_TRIP])
            except BackendUnavailable:
                self._renew_now.set()

    async def _renew_all(self) -> None:
        keys = [
            key
            for key, watches in self._watches.items()
            if any(one.is_registered for one in watches)
        ]
        try:
            for start in range(0, len(keys), _RENEWALS_PER_ROUND_TRIP):
                await self._renew(keys[start : start + _RENEWALS_PER_ROUND_TRIP])
        except BackendUnavailable as error:
            self._report_outage(error)
            raise
        self._renewed_at = time.monotonic()

    async def _renew(self, keys: Sequence[str]) -> None:
        subscription = self.subscription
        received = {
            one: one.items.next_ordinal
            for key in keys
            for one in self._watches.get(key, ())
            if one.is_registered
        }
        snapshots = await self._ledger.run_all(
            [watch(CallKey.parse(key), self.channel) for key in keys]
        )
        for key, snapshot in zip(keys, snapshots, strict=True):
            for one in self._watches.get(key, ()):
                if one in received:
                    one.confirmed_subscription = subscription
                    lost = isinstance(snapshot, CallSnapshot) and snapshot.count < received[one]
                    one.on_renewed(_ITEMS_LOST if lost else self._opened(one.call, snapshot))

    def _report_outage(self, error: BackendUnavailable) -> None:
        if time.monotonic() - self._renewed_at < RETRY_FOR_S:
            return
        for watches in self._watches.values():
            for one in watches:
                if one.is_registered:
                    one.on_renewed(error)

    async def subscribed(self, timeout_s: float = _SUBSCRIPTION_TIMEOUT_S) -> None:
        """Returns when the channel is subscribed; raises BackendUnavailable after `timeout_s`."""
        if self._subscribed.is_set():
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._subscribed.wait()
        except TimeoutError as error:
            raise BackendUnavailable(
                "the ledger's pub/sub is interrupted", retry_after_s=RETRY_AFTER_S
            ) from error

    async def listen(self) -> None:
        """Passes on the channel's frames until cancelled."""
        await listen(
            self._server,
            [self.channel],
            on_frame=self._on_frame,
            on_subscribed=self._on_subscribed,
            on_broken=self._subscribed.clear,
        )

    def _on_subscribed(self) -> None:
        self.subscription += 1
        self._subscribed.set()
        self._renew_now.set()

    def _opened(self, call: CallKey, snapshot: CallSnapshot | Refused) -> CallSnapshot | Refused:
        if isinstance(snapshot, Refused):
            return snapshot
        return self._ledger.seals.snapshot(call, snapshot)

    def _on_frame(self, frame: bytes) -> None:
        seals = self._ledger.seals
        try:
            opened, is_signed = seals.open_frame(frame)
            key, event = parse_frame(opened)
            if not isinstance(event, Reply | BatchHeartbeat | Lost | Recall):
                self._on_event(key, event)
            elif not (is_signed or isinstance(event, Recall)):
                seals.keyring.unsigned("frame of a worker")
        except SignatureError as error:
            seals.keyring.refused(error)
            return
        for on_frame in self._listeners.get(type(event), ()):
            on_frame(key, event)

    def _confirm(self, key: str) -> None:
        self._unconfirmed.add(key)
        self._confirm_now.set()

    def _on_event(self, key: str, event: CallEvent) -> None:
        watches = self._watches.get(key)
        if watches is None:
            return
        seals = self._ledger.seals
        if not seals.is_certain(event):
            self._confirm(key)
            for one in watches:
                one.has_unconfirmed_event = not one.is_registered
            return
        try:
            event = seals.event(watches[0].call, event)
        except SignatureError as error:
            seals.keyring.refused(error)
            if isinstance(event, Ending):
                self._confirm(key)
            return
        for one in watches:
            if isinstance(event, RequestWindowOpen):
                one.request_window_open.set()
            elif self.is_confirmed(one):
                one.items.on_event(event)
                one.set()
