"""Hearing of credit and of stops, in a process that runs handlers.

One thread a process, with a connection of its own. Pub/sub loses what is said
while the connection is away, so after each subscription every running call looks
into the ledger.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from forebay.errors import BackendUnavailable
from forebay_ledger.connection import CONNECT_TIMEOUT_S, BlockingLedger
from forebay_ledger.events import Credit, Stop, parse_control
from forebay_ledger.keys import control_channel
from forebay_ledger.operations import Refused, look
from forebay_ledger.scripts import LEASE_S
from forebay_workers.context import CallContext

_RECONNECT_AFTER_S = 0.5
_LISTEN_S = LEASE_S / 3

_log = logging.getLogger(__name__)


class Control:
    """The process's ear. Its thread starts with it and ends with the process."""

    def __init__(self, ledger_url: str, ledger: BlockingLedger) -> None:
        self.channel = control_channel(f"{os.getpid()}.{uuid.uuid4()}")
        self._ledger_url = ledger_url
        self._ledger = ledger
        self._running: dict[tuple[str, int], CallContext] = {}
        threading.Thread(target=self._listen, name="forebay-control", daemon=True).start()

    @contextmanager
    def running(self, context: CallContext) -> Iterator[None]:
        """The context hears of what concerns its call until the block is left."""
        name = (str(context.call), context.attempt)
        self._running[name] = context
        try:
            yield
        finally:
            del self._running[name]

    def _listen(self) -> None:
        while True:
            client = redis.Redis.from_url(
                self._ledger_url,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
            try:
                with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
                    pubsub.subscribe(self.channel)
                    self._hear(pubsub)
            except (RedisError, OSError) as error:
                _log.warning("the ledger's pub/sub broke: %s", error)
            finally:
                client.close()
            threading.Event().wait(_RECONNECT_AFTER_S)

    def _hear(self, pubsub: redis.client.PubSub) -> None:
        silent = 0
        while True:
            message = pubsub.get_message(timeout=_LISTEN_S)
            if message is None:
                silent += 1
                if silent > 1:
                    raise OSError("no answer to a ping")
                pubsub.ping()
                continue
            silent = 0
            if message["type"] == "subscribe":
                self._look_after_all()
            elif message["type"] == "message":
                self._on_frame(message["data"])

    def _on_frame(self, frame: bytes) -> None:
        try:
            key, attempt, event = parse_control(frame)
        except ValueError:
            _log.exception("a control frame that can't be read")
            return
        context = self._running.get((key, attempt))
        if context is None:
            return
        match event:
            case Credit(read_count):
                context.on_credit(read_count)
            case Stop(state):
                context.stop(str(state))

    def _look_after_all(self) -> None:
        for context in tuple(self._running.values()):
            try:
                flow = self._ledger.run(look(context.call, context.attempt))
            except BackendUnavailable:
                return
            if isinstance(flow, Refused):
                context.stop(flow.why)
            else:
                context.on_flow(flow)
