"""Unclaimed calls that are resent, and those that are not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lost_calls import certainly_lost, probably_lost
from forebay_backends.ledger.operations.maintenance import QueueBacklog, UnclaimedCall


def call(
    number: int, sent_ms: int, overtaken: bool = False, piggybacked: bool = False
) -> UnclaimedCall:
    return UnclaimedCall(
        CallKey(f"c{number}"), 1, "task", "queue", 0, sent_ms, overtaken, piggybacked
    )


calls = st.builds(call, st.integers(0, 10**6), st.integers(0, 9), st.booleans(), st.booleans())
waitings = st.builds(
    lambda old, young: QueueBacklog(sum(not one.piggybacked for one in old) + young, tuple(old)),
    st.lists(calls, max_size=20, unique_by=lambda one: one.call),
    st.integers(0, 20),
)


def test_unsent_and_overtaken_calls_are_lost_whatever_the_queue_holds() -> None:
    unsent, overtaken, other = call(1, 0), call(2, 5, overtaken=True), call(3, 5)
    assert certainly_lost(QueueBacklog(3, (unsent, overtaken, other))) == [unsent, overtaken]


def test_the_oldest_are_lost_where_the_queue_is_too_short() -> None:
    young = 2
    old, older = call(1, 7), call(2, 5)
    waiting = QueueBacklog(2 + young, (old, older))
    assert probably_lost(waiting, depth=4) == []
    assert probably_lost(waiting, depth=3) == [older]
    assert probably_lost(waiting, depth=0) == [older, old]


def test_a_piggybacked_call_is_lost_if_overtaken_or_if_the_queue_is_empty() -> None:
    rider, overtaken = call(1, 5, piggybacked=True), call(2, 5, overtaken=True, piggybacked=True)
    waiting = QueueBacklog(0, (rider, overtaken))
    assert certainly_lost(waiting) == [overtaken]
    assert probably_lost(waiting, depth=1) == []
    assert probably_lost(waiting, depth=0) == [rider]


@given(waitings, st.integers(0, 40))
def test_sending_again_never_makes_more_messages_than_calls(
    waiting: QueueBacklog, depth: int
) -> None:
    sent = probably_lost(waiting, depth)
    assert not set(certainly_lost(waiting)) & set(sent)
    piggybacked = sum(one.piggybacked for one in sent)
    assert len(sent) == piggybacked or depth + len(sent) - piggybacked <= waiting.count
