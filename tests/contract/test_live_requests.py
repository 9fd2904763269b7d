"""A live handler reads its requests as they arrive in a real ledger."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.operations.base import Push, Refusal
from forebay_backends.ledger.operations.calls import cancel
from forebay_backends.ledger.operations.requests import complete, receive
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.interrupted import Stopped
from forebay_workers.handler.requests import live_requests
from tests.contract.records import Record, running

TIMEOUT_S = 10.0


class Handler:
    """A thread that reads requests; puts them, and then how the stream ended, in `got`."""

    def __init__(self, ledger: BlockingLedger) -> None:
        self.record: Record = running(ledger, live=True, window_bytes=1000)
        self.context = CallContext(
            self.record.call,
            1,
            metadata=(),
            timeout_s=None,
            flow=FlowControl(1, 1),
            send_initial=lambda metadata: None,
        )
        self.got: queue.Queue[bytes | str] = queue.Queue()
        self._ledger = ledger
        self._sent = 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for request in live_requests(self._ledger, self.context):
                self.got.put(request)
            self.got.put("end")
        except Stopped:
            self.got.put("stopped")

    def send(self, request: bytes) -> None:
        """Stores a request, and notifies the handler's process."""
        assert self._ledger.run(receive(self.record.call, self._sent, request, 1000)) is None
        self._sent += 1
        self.context.requests_changed()

    def next(self) -> bytes | str:
        """The next request, or how the stream ended."""
        return self.got.get(timeout=TIMEOUT_S)


@contextmanager
def started(handler: Handler) -> Iterator[Handler]:
    handler.thread.start()
    yield handler
    handler.thread.join(TIMEOUT_S)
    assert not handler.thread.is_alive()


@pytest.fixture
def handler(ledger: BlockingLedger) -> Handler:
    return Handler(ledger)


def test_the_handler_gets_each_request_before_the_next_one_arrives(
    ledger: BlockingLedger, handler: Handler
) -> None:
    with started(handler):
        for number in range(20):
            handler.send(b"%d" % number)
            assert handler.next() == b"%d" % number
        ledger.run(complete(handler.record.call, Push(), 20))
        handler.context.requests_changed()
        assert handler.next() == "end"


def test_the_handler_gets_requests_that_arrived_earlier_at_once(
    ledger: BlockingLedger, handler: Handler
) -> None:
    for number in range(100):
        handler.send(b"%d" % number)
    ledger.run(complete(handler.record.call, Push(), 100))
    with started(handler):
        assert [handler.next() for _ in range(101)] == [*(b"%d" % n for n in range(100)), "end"]


def test_the_end_of_the_call_ends_the_wait_for_requests(
    ledger: BlockingLedger, handler: Handler
) -> None:
    with started(handler):
        handler.send(b"a")
        assert handler.next() == b"a"
        ledger.run(cancel(handler.record.call))
        handler.context.stop("CANCELLED")
        assert handler.next() == "stopped"


def test_the_end_of_the_handler_ends_the_wait_of_its_threads(handler: Handler) -> None:
    with started(handler):
        handler.send(b"a")
        assert handler.next() == b"a"
        handler.context.finish()
        assert handler.next() == "end"


def test_requests_that_the_ledger_lost_stop_the_handler(
    ledger: BlockingLedger, handler: Handler
) -> None:
    with started(handler):
        handler.send(b"a")
        assert handler.next() == b"a"
        call = handler.record.call
        ledger.redis.hset(f"{call.partition}:call:{call}", mapping={"request_count": 0})
        ledger.redis.delete(call.inputs)
        handler.context.requests_changed()
        assert handler.next() == "stopped"
        assert handler.context.stopped is Refusal.GAP
