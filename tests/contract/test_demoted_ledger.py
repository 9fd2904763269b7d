"""A server that became a replica refuses nothing for a reason that the primary may not have.

After a failover behind one address, a client may have connections to both servers: it accepts a
call on the new primary, and asks the old one, which has yet to follow, what became of it. If that
said that the call is unknown, its caller would be told that it was lost.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import Event
from forebay_backends.ledger.operations.attempts import (
    begin,
    claim,
    emit,
    emit_transient,
    finish,
    read_flow,
    release,
    renew,
    trim,
)
from forebay_backends.ledger.operations.base import Operation, Push
from forebay_backends.ledger.operations.calls import cancel, credit, discard, watch
from forebay_backends.ledger.operations.delayed import start
from forebay_backends.ledger.operations.held import send_held
from forebay_backends.ledger.operations.inspection import delete, describe, observe
from forebay_backends.ledger.operations.requests import complete, receive, take_requests
from tests.contract.records import (
    NOBODY,
    OTHER_WORKER,
    WORKER,
    Record,
    accepted,
    new_key,
    running,
)
from tests.faults.backend import Server, server

OPERATIONS: tuple[Callable[[CallKey], Operation[Any]], ...] = (
    lambda call: begin(call, 1, WORKER, NOBODY),
    lambda call: cancel(call),
    lambda call: claim(call, 1, WORKER),
    lambda call: complete(call, Push()),
    lambda call: credit(call, 1),
    lambda call: delete(call),
    lambda call: describe(call, 100),
    lambda call: discard(call),
    lambda call: emit(call, 1, 0, b"item"),
    lambda call: emit_transient(call, 1, b"item"),
    lambda call: finish(call, 1, Event.SUCCEED, "", b""),
    lambda call: observe(call, NOBODY),
    lambda call: read_flow(call, 1),
    lambda call: receive(call, 0, b"request", 1000),
    lambda call: release(call, 1, WORKER),
    lambda call: renew(call.partition, WORKER, [(call, 1)]),
    lambda call: send_held(call, Push()),
    lambda call: start(call, Push()),
    lambda call: take_requests(call, 1, 0, 0),
    lambda call: trim(call, 1, 1, 1),
    lambda call: watch(call, NOBODY),
)
NAMES = [make(CallKey("a")).script for make in OPERATIONS]


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    """A server of its own, with no script in its cache."""
    with server() as running:
        yield running


@pytest.fixture(scope="module")
def ledger(primary: Server) -> Iterator[BlockingLedger]:
    with contextlib.closing(BlockingLedger(primary.url)) as made:
        yield made


def fails_on_a_replica(primary: Server, ledger: BlockingLedger, operation: Operation[Any]) -> None:
    """The operation, on a replica whose primary does not answer."""
    replica = primary.refusing("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")
    with replica, pytest.raises(BackendUnavailable, match="read-only, a replica"):
        ledger.run(operation)


def test_each_operation_that_may_find_no_call_is_tested() -> None:
    lua = files("forebay_backends.ledger") / "lua"
    texts = {
        f"{folder.name}/{file.name}": file.read_text()
        for folder in lua.iterdir()
        if folder.is_dir() and folder.name != "lib"
        for file in folder.iterdir()
    }
    may_reply_so = re.compile(r"(\||Replies:) UNKNOWN")
    found = {name.removesuffix(".lua") for name, text in texts.items() if may_reply_so.search(text)}
    # A caller who finds no run to join makes one, and a replica refuses that.
    assert set(NAMES) == found - {"calls/join"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_it_does_not_say_that_a_call_is_unknown(
    primary: Server, ledger: BlockingLedger, operation: Callable[[CallKey], Operation[Any]]
) -> None:
    fails_on_a_replica(primary, ledger, operation(new_key()))


@pytest.mark.parametrize(
    ("state", "operation"),
    [
        pytest.param(accepted, lambda call: claim(call, 2, WORKER), id="next claim"),
        pytest.param(accepted, lambda call: begin(call, 2, WORKER, NOBODY), id="next begin"),
        pytest.param(accepted, lambda call: finish(call, 1, Event.FAIL, "", b""), id="finish"),
        pytest.param(accepted, lambda call: emit(call, 1, 0, b"item"), id="emit"),
        pytest.param(accepted, lambda call: delete(call), id="delete"),
        pytest.param(running, lambda call: claim(call, 1, OTHER_WORKER), id="other claim"),
        pytest.param(running, lambda call: release(call, 1, OTHER_WORKER), id="other release"),
        pytest.param(running, lambda call: emit(call, 1, 5, b"item"), id="emit with a gap"),
        pytest.param(running, lambda call: discard(call), id="discard"),
    ],
)
def test_it_refuses_nothing_for_the_state_that_a_call_had(
    primary: Server,
    ledger: BlockingLedger,
    state: Callable[[BlockingLedger], Record],
    operation: Callable[[CallKey], Operation[Any]],
) -> None:
    fails_on_a_replica(primary, ledger, operation(state(ledger).call))
