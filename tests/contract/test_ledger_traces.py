"""A call's trace comes with all that its message needs, when it is sent late or again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forebay.metadata import TRACEPARENT, from_pairs
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Push
from forebay_backends.ledger.operations.calls import CallSnapshot, Start, accept, attach
from forebay_backends.ledger.operations.delayed import due_calls
from forebay_backends.ledger.operations.held import adopt_held
from forebay_backends.ledger.operations.maintenance import unclaimed
from forebay_backends.ledger.seals import Seals
from forebay_backends.signing.keyring import NO_KEYS, Keyring
from forebay_backends.signing.keys import SigningKeys
from tests.contract.records import NOBODY, QUEUE, new_call, new_key, with_lease

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
OTHER = TRACE.replace("4bf9", "ffff")
AFTER_OTHERS = [("x-wish", TRACEPARENT), (f"x-{TRACEPARENT}", OTHER), (TRACEPARENT, TRACE)]
"""Metadata of a call that is not sampled, with keys and values that look alike."""


def lost(ledger: BlockingLedger, call: CallKey) -> str:
    (found,) = ledger.run(with_lease(unclaimed(call.partition_number, [QUEUE]), 0.0))[QUEUE].old
    return found.traceparent


def taken_over(ledger: BlockingLedger, call: CallKey) -> str:
    (found,) = ledger.run(with_lease(adopt_held(call.partition_number, [QUEUE]), 0.0))
    return found.traceparent


def due(ledger: BlockingLedger, call: CallKey) -> str:
    (found,) = ledger.run(due_calls(call.partition_number, 0.0))
    return found.held.traceparent


def attached(ledger: BlockingLedger, call: CallKey) -> str:
    found = ledger.run(attach(call, NOBODY))
    assert isinstance(found, CallSnapshot)
    return found.traceparent


@pytest.mark.parametrize("keyring", [NO_KEYS, Keyring(SigningKeys({"k": b"k" * 32}))])
@pytest.mark.parametrize(("pairs", "trace"), [(AFTER_OTHERS, TRACE), ([], ""), ([("a", "b")], "")])
@pytest.mark.parametrize("found", [lost, taken_over, due, attached])
def test_a_message_that_is_sent_late_or_again_names_the_calls_trace(
    ledger: BlockingLedger,
    found: Callable[[BlockingLedger, CallKey], str],
    pairs: list[tuple[str, str]],
    trace: str,
    keyring: Keyring,
) -> None:
    call = new_key("acme")
    start = Start(0.0, is_relative=True) if found is due else None
    new = new_call(metadata=from_pairs(pairs).SerializeToString(), start=start)
    sealed = Seals(keyring).new_call(call, new)
    ledger.run(accept(call, sealed, NOBODY, Push(), held=found is taken_over))
    assert found(ledger, call) == trace
