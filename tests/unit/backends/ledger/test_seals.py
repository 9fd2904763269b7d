"""What the seals of a call are bound to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forebay.errors import ItemsLost
from forebay.v1 import call_pb2
from forebay_backends.ledger.frames import Ending, Initial, Item, ItemsStored, TransientItem
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.attempts import Begun
from forebay_backends.ledger.outcome import error_of_outcome
from forebay_backends.ledger.seals import NO_SEALS, Seals
from forebay_backends.signing.keyring import Keyring, SignatureError
from forebay_backends.signing.keys import SigningKeys
from tests.contract.records import new_call

SEALS = Seals(Keyring(SigningKeys({"new": b"n" * 32})))
A, B = CallKey("a"), CallKey("b")


def ending(state: State, count: int, outcome: bytes, response: bytes | None = None) -> Ending:
    return Ending(state, "", count, 1, 0, 0, outcome, response)


def test_events_open_for_their_call_alone() -> None:
    events = (
        Item(3, SEALS.item(A, 3, b"x")),
        TransientItem(SEALS.transient(A, b"x")),
        Initial(SEALS.initial(A, b"x")),
        ending(State.SUCCEEDED, 2, SEALS.outcome(A, State.SUCCEEDED, 2, b"x")),
    )
    opened = (Item(3, b"x"), TransientItem(b"x"), Initial(b"x"), ending(State.SUCCEEDED, 2, b"x"))
    assert tuple(SEALS.event(A, event) for event in events) == opened
    for event in events:
        with pytest.raises(SignatureError):
            SEALS.event(B, event)
    for event in opened:
        with pytest.raises(SignatureError):
            SEALS.event(A, event)
        assert NO_SEALS.event(A, event) == event


def test_owners_of_one_id_have_calls_of_their_own() -> None:
    sealed = Item(0, SEALS.item(CallKey("a", "acme"), 0, b"x"))
    with pytest.raises(SignatureError):
        SEALS.event(A, sealed)


def test_an_item_opens_in_its_place() -> None:
    with pytest.raises(SignatureError):
        SEALS.event(A, Item(2, SEALS.item(A, 3, b"x")))
    with pytest.raises(ItemsLost):
        SEALS.open_item(A, 2, SEALS.item(A, 3, b"x"))


@pytest.mark.parametrize(("state", "count"), [(State.SUCCEEDED, 1), (State.FAILED, 2)])
def test_a_success_has_all_its_items(state: State, count: int) -> None:
    sealed = SEALS.outcome(A, State.SUCCEEDED, 2, b"x")
    opened = SEALS.ending(A, ending(state, count, sealed))
    error = error_of_outcome(call_pb2.Outcome.FromString(opened.outcome))
    assert isinstance(error, ItemsLost)
    assert opened.state is State.FAILED


def test_a_failure_may_follow_items_of_an_earlier_attempt() -> None:
    sealed = SEALS.outcome(A, State.FAILED, 2, b"x")
    assert SEALS.ending(A, ending(State.FAILED, 5, sealed)).outcome == b"x"


def test_a_response_is_the_first_item() -> None:
    outcome = SEALS.outcome(A, State.SUCCEEDED, 1, b"")
    right = ending(State.SUCCEEDED, 1, outcome, SEALS.item(A, 0, b"x"))
    assert SEALS.event(A, right) == ending(State.SUCCEEDED, 1, b"", b"x")
    for forged in (b"x", SEALS.item(B, 0, b"x"), SEALS.item(A, 1, b"x")):
        with pytest.raises(SignatureError):
            SEALS.event(A, ending(State.SUCCEEDED, 1, outcome, forged))


def test_what_a_script_publishes_is_to_be_confirmed() -> None:
    lost = Ending(State.FAILED, "WORKER_LOST", 0, 1, 0, 0, b"")
    assert SEALS.event(A, lost) == lost
    assert not SEALS.is_certain(lost)
    assert NO_SEALS.is_certain(lost)
    assert not SEALS.is_certain(ItemsStored(1, 2))
    assert NO_SEALS.is_certain(ItemsStored(1, 2))
    assert SEALS.is_certain(ending(State.SUCCEEDED, 1, b"sealed"))
    with pytest.raises(SignatureError):  # no script ends a call so
        SEALS.event(A, ending(State.SUCCEEDED, 0, b""))


def test_a_worker_begins_with_what_a_gateway_wrote() -> None:
    seal = SEALS.keyring.seal
    parts = {name: seal(b"", name, A, "M") for name in ("request", "metadata", "caller")}

    def begun(**changed: bytes) -> Begun:
        sealed = {**parts, **changed}
        return Begun(
            "M",
            sealed["request"],
            None,
            sealed["metadata"],
            None,
            0,
            0,
            live=False,
            caller=sealed["caller"],
        )

    opened = SEALS.begun(A, begun())
    assert (opened.request, opened.metadata, opened.caller) == (b"", b"", b"")
    for name in parts:
        others = [other for other in parts.values() if other != parts[name]]
        for forged in (b"", b"forged", *others, seal(b"", name, B, "M"), seal(b"", name, A, "N")):
            with pytest.raises(ItemsLost):
                SEALS.begun(A, begun(**{name: forged}))


def test_the_task_of_the_end_opens_for_its_call_and_method_alone() -> None:
    new = new_call(method="m", on_end=b"task")
    sealed = SEALS.new_call(A, new).on_end
    assert SEALS.on_end(A, "m", sealed) == b"task"
    for call, method in ((B, "m"), (A, "other")):
        with pytest.raises(SignatureError):
            SEALS.on_end(call, method, sealed)
    assert SEALS.new_call(A, replace(new, on_end=b"")).on_end == b"", "it has none"
    assert NO_SEALS.on_end(A, "m", b"task") == b"task"
