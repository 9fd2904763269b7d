"""Calls of two tenants with the same id: neither has to do with the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import PARTITIONS, CallKey
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    begin,
    claim,
    emit,
    emit_transient,
    finish,
    read_flow,
    release,
    renew,
    send_initial_metadata,
    trim,
)
from forebay_backends.ledger.operations.base import Operation, Push
from forebay_backends.ledger.operations.calls import (
    accept,
    attach,
    cancel,
    credit,
    discard,
    leave,
    watch,
)
from forebay_backends.ledger.operations.inspection import delete, describe, list_calls, observe
from forebay_backends.ledger.operations.requests import complete, receive, take_requests
from tests.contract.channel import Channel
from tests.contract.records import NOBODY, WORKER, Record, accepted, new_call, running, sweep_all

OWNERS = ("acme", "umbrella", "")
ID = "nightly"

ON_ONE_CALL: dict[str, Callable[[CallKey], Operation[Any]]] = {
    "attach": lambda call: attach(call, NOBODY),
    "watch": lambda call: watch(call, NOBODY),
    "leave": lambda call: leave(call, NOBODY),
    "credit": lambda call: credit(call, 1),
    "cancel": cancel,
    "discard": discard,
    "delete": delete,
    "describe": lambda call: describe(call, 1000, review=True),
    "observe": lambda call: observe(call, NOBODY),
    "receive": lambda call: receive(call, 1, b"more", 1000),
    "complete": lambda call: complete(call, Push()),
    "take": lambda call: take_requests(call, 1, 0, 0),
    "claim": lambda call: claim(call, 1, WORKER),
    "begin": lambda call: begin(call, 1, WORKER, "control"),
    "renew": lambda call: renew(call.partition, WORKER, [(call, 1)]),
    "release": lambda call: release(call, 1, WORKER),
    "emit": lambda call: emit(call, 1, 0, b"item"),
    "emit_transient": lambda call: emit_transient(call, 1, b"item"),
    "initial": lambda call: send_initial_metadata(call, 1, b""),
    "flow": lambda call: read_flow(call, 1),
    "trim": lambda call: trim(call, 1, 1, 4),
    "finish": lambda call: finish(call, 1, Event.SUCCEED, "", b""),
}


def dump(ledger: BlockingLedger, call: CallKey) -> dict[bytes, bytes | None]:
    """All keys of the call, as they are on the server."""
    names = ledger.redis.keys(f"*:{call}")
    assert isinstance(names, list)
    return {name: ledger.redis.dump(name) for name in names}  # type: ignore[misc]


def calls_of(ledger: BlockingLedger, owner: str) -> set[CallKey]:
    """The calls that a listing of the owner reads; without an owner, of all."""
    stretches = (ledger.run(list_calls(n, None, None, 100, owner)) for n in range(PARTITIONS))
    return {one.call for stretch in stretches for one in stretch.calls}


def indexes(ledger: BlockingLedger) -> set[bytes]:
    """The keys of the owners' indexes."""
    names = ledger.redis.keys("*:calls:*")
    assert isinstance(names, list)
    return set(names)


@pytest.mark.parametrize("name", ON_ONE_CALL)
def test_a_call_of_another_owner_is_as_one_that_does_not_exist(
    ledger: BlockingLedger, name: str
) -> None:
    record = running(ledger, call=CallKey(ID, "acme"))
    ledger.run(emit(record.call, 1, 0, b"secret"))
    before = dump(ledger, record.call)
    operation = ON_ONE_CALL[name]
    for owner in ("umbrella", ""):
        foreign = ledger.run(operation(CallKey(ID, owner)))
        absent = ledger.run(operation(CallKey("absent", owner)))
        assert foreign == absent
        assert dump(ledger, record.call) == before


def test_owners_use_one_id_at_once(ledger: BlockingLedger) -> None:
    records = [running(ledger, call=CallKey(ID, owner)) for owner in OWNERS]
    for record in records:
        ledger.run(emit(record.call, 1, 0, record.call.owner.encode()))
    acme, umbrella, nobody = records
    assert ledger.run(finish(acme.call, 1, Event.SUCCEED, "", b"done")) is None
    assert ledger.run(cancel(umbrella.call)) is None
    assert [one.state for one in records] == [State.SUCCEEDED, State.CANCELLED, State.RUNNING]
    assert [one.items for one in records] == [[b"acme"], [b"umbrella"], [b""]]
    assert ledger.run(delete(acme.call)) is None
    assert umbrella.state is State.CANCELLED
    assert nobody.state is State.RUNNING


def test_events_name_the_owners_call(ledger: BlockingLedger, channel: Channel) -> None:
    running(ledger, call=CallKey(ID, "acme"))
    umbrella = running(ledger, channel.name, call=CallKey(ID, "umbrella"))
    ledger.run(cancel(CallKey(ID, "acme")))
    ledger.run(emit(umbrella.call, 1, 0, b"mine"))
    assert [frame.partition(b"\n")[0] for frame in channel.received()] == [
        f"item {umbrella.call} 0".encode()
    ]


def test_a_listing_reads_the_calls_of_one_owner_or_of_all(ledger: BlockingLedger) -> None:
    calls = {owner: {CallKey(f"{ID}-{number}", owner) for number in range(40)} for owner in OWNERS}
    for call in set().union(*calls.values()):
        accepted(ledger, call=call)
    assert calls_of(ledger, "acme") == calls["acme"]
    assert calls_of(ledger, "umbrella") == calls["umbrella"]
    assert calls_of(ledger, "other") == set()
    assert calls_of(ledger, "") == set().union(*calls.values())


def test_an_owners_index_goes_with_its_last_call(ledger: BlockingLedger) -> None:
    deleted, swept, discarded, lost = (CallKey(f"{ID}-{number}", "acme") for number in range(4))
    accepted(ledger, call=deleted)
    accepted(ledger, call=swept, retention_s=0.0)
    accepted(ledger, call=discarded)
    accepted(ledger, call=lost)
    assert indexes(ledger) == {
        f"{call.partition}:calls:acme".encode() for call in (deleted, swept, discarded, lost)
    }
    for call in (deleted, swept):
        assert ledger.run(cancel(call)) is None
    sweep_all(ledger)
    assert calls_of(ledger, "acme") == {deleted, discarded, lost}
    assert ledger.run(delete(deleted)) is None
    assert ledger.run(discard(discarded)) is None
    ledger.redis.delete(lost.record)
    assert calls_of(ledger, "acme") == set()
    assert indexes(ledger) == set()


def test_calls_without_an_owner_have_no_index_of_their_own(ledger: BlockingLedger) -> None:
    accepted(ledger, call=CallKey(ID))
    assert indexes(ledger) == set()


def test_the_same_id_with_another_request_is_new_to_another_owner(ledger: BlockingLedger) -> None:
    first = accepted(ledger, call=CallKey(ID, "acme"), digest="d1")
    other = CallKey(ID, "umbrella")
    assert ledger.run(accept(other, new_call(digest="d2"), NOBODY, Push())) is None
    assert Record(ledger, other).fields["digest"] == b"d2"
    assert first.fields["digest"] == b"d1"
