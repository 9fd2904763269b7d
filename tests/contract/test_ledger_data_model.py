"""The tables of keys and of record fields match the data on a server exactly."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import KEYS, REAPING, STARTING, begun_key
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    begin,
    claim,
    emit,
    emit_transient,
    finish,
    read_flow,
    release,
    report_metadata,
    send_initial_metadata,
    trim,
)
from forebay_backends.ledger.operations.base import Operation, Push, Refusal, Refused
from forebay_backends.ledger.operations.cache import accept_cached
from forebay_backends.ledger.operations.calls import Start, accept, attach, credit, end, leave
from forebay_backends.ledger.operations.delayed import due_calls, start
from forebay_backends.ledger.operations.held import renew_held, send_held
from forebay_backends.ledger.operations.inspection import observe
from forebay_backends.ledger.operations.quotas import Tokens, Use, share
from forebay_backends.ledger.operations.requests import complete, receive, take_requests
from forebay_backends.ledger.presence import WorkerPresence, announce
from forebay_backends.ledger.record import FIELDS
from forebay_gateway.rpc.cache_key import CacheKey
from tests.contract.records import NOBODY, WORKER, Record, new_call, new_key, sweep_all

OTHER_GATEWAY = "test:gateway:other"
WINDOW_BYTES = 12
LIMIT_BYTES = 1000
ENDS = (Event.SUCCEED, Event.FAIL, Event.CANCEL, Event.EXPIRE)


@dataclass
class Found:
    """The data found on the server: key patterns, and the states in which each field was set."""

    ledger: BlockingLedger
    patterns: set[str] = field(default_factory=set)
    states: dict[str, set[State]] = field(default_factory=lambda: defaultdict(set))

    def look(self) -> None:
        """Adds the present data."""
        server = self.ledger.redis
        names = [cast(bytes, raw).decode() for raw in server.scan_iter("*", count=1000)]
        records = [name for name in names if ":call:" in name]
        with server.pipeline() as pipeline:
            for name in names:
                pipeline.type(name)
            for name in records:
                pipeline.hgetall(name)
            replies = pipeline.execute()
        for name, kind in zip(names, replies, strict=False):
            matching = [pattern for pattern in KEYS if pattern.matches(name)]
            assert len(matching) == 1, f"{name}: {matching}"
            if kind == b"none":  # it has expired since the scan
                continue
            assert kind == matching[0].type.encode(), name
            self.patterns.add(matching[0].pattern)
        for record in filter(None, replies[len(names) :]):
            for found in record:
                self.states[found.decode()].add(State(record[b"state"].decode()))


@dataclass
class Life:
    """One call, and the server after each of its steps."""

    found: Found
    record: Record

    def does(self, *operations: Operation[Any], refused: Refusal | None = None) -> None:
        """Runs each operation and looks; the last one must be refused if `refused`."""
        for operation in operations:
            reply = self.record.ledger.run(operation)
            expected = refused if operation is operations[-1] else None
            assert (reply.why if isinstance(reply, Refused) else None) == expected, operation
            self.found.look()

    def ends(self, event: Event, attempt: int = 1, response: bytes | None = None) -> None:
        call, reason = self.record.call, "WHY"
        if event is Event.EXPIRE:
            self.does(end(call, event, reason, b"outcome"))
        else:
            self.does(finish(call, attempt, event, reason, b"outcome", response))


def accepted(
    found: Found, *, piggybacked: bool = False, held: bool = False, **changes: Any
) -> Life:
    """A call that runs on without watchers: another caller attached, and both disconnected."""
    new = new_call(
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        is_sampled=True,
        detach=True,
        priority=1,
        timeout_s=600.0,
        run_limit_s=300.0,
        window_bytes=WINDOW_BYTES,
        idle_s=60.0,
        on_end=b"on_end",
        **changes,
    )
    call = new_key("acme")
    new_record = accept(call, new, NOBODY, Push(), piggybacked=piggybacked, held=held)
    assert found.ledger.run(new_record) is None
    life = Life(found, Record(found.ledger, call))
    found.look()
    life.does(
        attach(call, OTHER_GATEWAY),
        observe(call, NOBODY),
        leave(call, NOBODY),
        leave(call, OTHER_GATEWAY),
    )
    return life


def unary(found: Found, event: Event) -> None:
    """A claim is given back, an attempt that stored items is lost, and the next one ends."""
    life = accepted(found)
    call = life.record.call
    life.does(claim(call, 1, WORKER), release(call, 1, WORKER), begin(call, 1, WORKER, "control"))
    life.does(
        emit(call, 1, 0, b"item"),
        emit_transient(call, 1, b"half"),
        report_metadata(call, 1, b"half"),
        send_initial_metadata(call, 1, b"metadata"),
        credit(call, 1),
        trim(call, 1, 1, 4),
        attach(call, OTHER_GATEWAY),
        read_flow(call, 1),
        leave(call, OTHER_GATEWAY),
        release(call, 1, WORKER),
        begin(call, 2, WORKER, "control"),
    )
    life.ends(event, attempt=2)


def piggybacked(found: Found, event: Event) -> None:
    """A call that another call's message names keeps its first worker, and gets a response."""
    life = accepted(found, piggybacked=True)
    life.does(claim(life.record.call, 1, WORKER), begin(life.record.call, 1, WORKER, "control"))
    life.ends(event, response=b"response")
    life.does(attach(life.record.call, OTHER_GATEWAY))


def held(found: Found, event: Event) -> None:
    """A gateway holds back the message; one call is sent in the end, another ends before."""
    life = accepted(found, held=True)
    call = life.record.call
    life.does(renew_held(call.partition, [("queue", call)]), send_held(call, Push()))
    life.does(claim(call, 1, WORKER), begin(call, 1, WORKER, "control"))
    life.ends(event)
    if event is not Event.SUCCEED:
        before = accepted(found, receiving=True)
        before.does(complete(before.record.call, Push(), 0, held=True))
        before.does(end(before.record.call, event, "WHY", b"outcome"))
    # A worker may get the call of a gateway that was slow to renew; it then has its lease.
    claimed = accepted(found, held=True)
    claimed.does(claim(claimed.record.call, 1, WORKER))
    claimed.does(begin(claimed.record.call, 1, WORKER, "control"))
    claimed.ends(event)


def cached(found: Found, event: Event) -> None:
    """A call that others may join."""
    key = CacheKey(hashlib.sha256(event.encode()).hexdigest(), "acme", ttl_s=60.0)
    life = Life(found, Record(found.ledger, key.new_call()))
    new = new_call(cache=key.digest, cache_ttl_s=key.ttl_s)
    life.does(accept_cached(life.record.call, new, NOBODY, Push()))
    life.does(claim(life.record.call, 1, WORKER), begin(life.record.call, 1, WORKER, "control"))
    life.ends(event)


def spooled(found: Found, event: Event) -> None:
    """A call is queued when its requests are complete; another ends before."""
    life = accepted(found, receiving=True)
    call = life.record.call
    complete_all = complete(call, Push(), 1, requests_end=b"end")
    life.does(receive(call, 0, b"request", LIMIT_BYTES), complete_all)
    life.does(claim(call, 1, WORKER), begin(call, 1, WORKER, "control"))
    life.ends(event)
    if event is not Event.SUCCEED:
        before = accepted(found, receiving=True)
        before.does(receive(before.record.call, 0, b"request", LIMIT_BYTES))
        before.does(end(before.record.call, event, "WHY", b"outcome"))


def delayed(found: Found, event: Event) -> None:
    """A call that starts later; another ends before."""
    life = accepted(found, start=Start(0.0, is_relative=True))
    call = life.record.call
    life.does(start(call, Push()), claim(call, 1, WORKER), begin(call, 1, WORKER, "control"))
    life.ends(event)
    later = accepted(found, start=Start(600.0, is_relative=True))
    later.does(due_calls(later.record.call.partition_number, 700.0))
    if event is not Event.SUCCEED:
        later.does(end(later.record.call, event, "WHY", b"outcome"))


def live(found: Found, event: Event) -> None:
    """The handler of a live call reads all requests, and waits for more."""
    life = accepted(found, live=True, may_run_again=False)
    call = life.record.call
    life.does(
        receive(call, 0, b"0123456789", LIMIT_BYTES),
        receive(call, 1, b"0123456789", LIMIT_BYTES),
        refused=Refusal.FULL,
    )
    life.does(claim(call, 1, WORKER), begin(call, 1, WORKER, "control"))
    life.does(take_requests(call, 1, 0, 0), take_requests(call, 1, 1, 10))
    life.does(complete(call, Push(), 1, requests_end=b"end"))
    life.ends(event)


@pytest.fixture
def found(ledger: BlockingLedger) -> Found:
    """After calls of every kind went through every state."""
    found = Found(ledger)
    lives: tuple[Callable[[Found, Event], None], ...] = (
        *(unary, piggybacked, held, cached, spooled, live),
        delayed,
    )
    for life in lives:
        for event in ENDS:
            life(found, event)
    sweep_all(ledger)
    found.look()
    return found


def test_a_records_fields_are_set_in_the_states_that_the_table_names(found: Found) -> None:
    assert found.states == {field.name: set(field.states) for field in FIELDS}


async def test_the_keys_on_a_server_are_those_of_the_table(
    found: Found, aio_ledger: Ledger
) -> None:
    presence = WorkerPresence(WORKER, ("queue",), ("task",), slots=1, pool="solo", version="1")
    await announce(aio_ledger, presence)
    found.ledger.set_once(begun_key("message"), b"mark", 60_000)
    await aio_ledger.elected(REAPING, 60.0)
    await aio_ledger.elected(STARTING, 60.0)
    await aio_ledger.ping()
    await aio_ledger.run(share("acme", NOBODY, Tokens(1.0, needed=1), [Use(1, 1)]))
    found.look()
    within_a_transaction = {"forebay:{N}:parked:CALL"}
    assert found.patterns == {key.pattern for key in KEYS} - within_a_transaction
