"""Watching a call, and the consequences when the last watcher disconnects."""

from __future__ import annotations

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending, parse_frame
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import emit, emit_transient, finish
from forebay_backends.ledger.operations.base import Push, Refusal, Refused
from forebay_backends.ledger.operations.calls import (
    CallSnapshot,
    accept,
    attach,
    discard,
    leave,
    watch,
)
from tests.contract.channel import Channel
from tests.contract.records import (
    NOBODY,
    Record,
    accepted,
    new_call,
    new_key,
    running,
    sweep_all,
    with_lease,
)
from tests.harness import eventually

LINGER_S = 0.3
LONG_S = 600.0
"""Longer than any test takes."""


def swept_to(record: Record, state: State) -> bool:
    """Whether sweeping has changed the call to the state."""
    sweep_all(record.ledger)
    return record.state is state


def test_watching_returns_the_state_of_the_call(ledger: BlockingLedger) -> None:
    record = running(ledger)
    ledger.run(emit(record.call, 1, 0, b"item"))
    snapshot = ledger.run(watch(record.call, "channel"))
    assert isinstance(snapshot, CallSnapshot)
    assert (snapshot.method, snapshot.digest) == ("pkg.Service.Method", "d1")
    assert (snapshot.count, snapshot.sent, snapshot.first) == (1, 4, 0)
    assert (snapshot.initial, snapshot.transient, snapshot.ending) == (b"", b"", None)
    assert "channel" in record.watchers


def test_watching_a_finished_call_returns_its_ending(ledger: BlockingLedger) -> None:
    record = running(ledger)
    ledger.run(emit(record.call, 1, 0, b"item"))
    ledger.run(finish(record.call, 1, Event.FAIL, "WHY", b"outcome"))
    ending = record.ending()
    assert (ending.state, ending.reason, ending.outcome) == (State.FAILED, "WHY", b"outcome")
    assert (ending.count, ending.attempts) == (1, 1)


def test_timing_metadata_is_sent_with_the_end(ledger: BlockingLedger) -> None:
    record = accepted(ledger)
    ledger.redis.hincrby(f"{record.call.partition}:call:{record.call}", "queued_at", -700)
    ledger.run(finish(record.call, 1, Event.FAIL, "", b""))
    assert 700 <= record.ending().queue_ms < 5000
    assert record.ending().run_ms == 0


@pytest.mark.parametrize("state", [State.RECEIVING, State.QUEUED, State.RUNNING])
def test_without_a_linger_a_call_is_cancelled_when_its_last_watcher_disconnects(
    ledger: BlockingLedger, state: State
) -> None:
    changes = {"linger_s": 0.0, "receiving": state is State.RECEIVING}
    record = running(ledger, **changes) if state is State.RUNNING else accepted(ledger, **changes)
    assert ledger.run(leave(record.call, NOBODY)) is None
    assert (record.state, record.ending().reason) == (State.CANCELLED, "CANCELLED")


def test_a_call_lingers_when_its_last_watcher_disconnects(ledger: BlockingLedger) -> None:
    record = running(ledger, linger_s=LINGER_S)
    ledger.run(leave(record.call, NOBODY))
    assert record.state is State.RUNNING
    eventually(lambda: swept_to(record, State.CANCELLED), "it is cancelled")
    assert (
        float(record.fields["finished_at"]) - float(record.fields["abandoned_at"])
        >= LINGER_S * 1000
    )


def test_a_watcher_that_comes_back_ends_the_lingering(ledger: BlockingLedger) -> None:
    record, other = (running(ledger, linger_s=1.0) for _ in range(2))
    for call in (record.call, other.call):
        ledger.run(leave(call, NOBODY))
    record.snapshot()
    eventually(lambda: swept_to(other, State.CANCELLED), "the other is cancelled")
    assert record.state is State.RUNNING


def test_a_call_that_nobody_watches_from_the_start_runs_on_if_it_is_detached(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger, "", linger_s=0.0, detach=True)
    assert ledger.run(emit_transient(record.call, 1, b"half")) is None
    sweep_all(ledger)
    assert (record.state, record.watchers) == (State.RUNNING, [])
    record.snapshot("reader")
    ledger.run(leave(record.call, "reader"))
    sweep_all(ledger)
    assert record.state is State.RUNNING
    assert ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"", b"response")) is None
    assert (record.state, record.items) == (State.SUCCEEDED, [b"response"])


def test_a_call_lives_while_one_watcher_stays(ledger: BlockingLedger) -> None:
    record = running(ledger, linger_s=0.0)
    record.snapshot("another")
    ledger.run(leave(record.call, NOBODY))
    sweep_all(ledger)
    assert (record.state, record.watchers) == (State.RUNNING, ["another"])
    ledger.run(leave(record.call, "another"))
    assert record.state is State.CANCELLED


def test_a_call_that_another_caller_attached_to_is_not_discarded(ledger: BlockingLedger) -> None:
    known, unknown = accepted(ledger), accepted(ledger)
    assert isinstance(ledger.run(attach(known.call, NOBODY)), CallSnapshot)
    assert ledger.run(watch(unknown.call, NOBODY)), "its first caller's watch is renewed"
    ledger.run(leave(known.call, NOBODY))
    assert ledger.run(discard(known.call)) == Refused(State.QUEUED)
    assert ledger.run(discard(unknown.call)) is None
    assert not unknown.fields


def test_leaving_twice_is_leaving_once(ledger: BlockingLedger) -> None:
    record = running(ledger, linger_s=LINGER_S)
    ledger.run(leave(record.call, NOBODY))

    def left_again() -> bool:
        ledger.run(leave(record.call, NOBODY))
        return record.state is State.CANCELLED

    eventually(left_again, "leaving again does not put it off")


def test_a_detached_call_outlives_its_watchers(ledger: BlockingLedger) -> None:
    detached = running(ledger, detach=True, linger_s=0.0)
    other = running(ledger, linger_s=LINGER_S)
    for call in (detached.call, other.call):
        ledger.run(leave(call, NOBODY))
    eventually(lambda: swept_to(other, State.CANCELLED), "the other is cancelled")
    assert detached.state is State.RUNNING


def test_a_detached_call_that_is_still_receiving_does_not_outlive_its_watchers(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger, receiving=True, detach=True, linger_s=0.0)
    ledger.run(leave(record.call, NOBODY))
    assert record.state is State.CANCELLED


def test_leaving_a_finished_call_changes_nothing(ledger: BlockingLedger) -> None:
    record = running(ledger, linger_s=0.0)
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    ledger.run(leave(record.call, NOBODY))
    assert record.state is State.SUCCEEDED


def lapsing(ledger: BlockingLedger, lease_s: float, **changes: object) -> Record:
    """A call whose only watcher's gateway is dead."""
    call: CallKey = new_key()
    ledger.run(with_lease(accept(call, new_call(**changes), NOBODY, Push()), lease_s))
    return Record(ledger, call)


def test_a_dead_gateways_watch_lapses_like_a_claim(ledger: BlockingLedger) -> None:
    record = lapsing(ledger, 0.05, linger_s=0.0)
    assert record.state is State.QUEUED
    eventually(lambda: swept_to(record, State.CANCELLED), "the watch lapses")


def test_a_call_lingers_after_its_last_watch_lapsed(ledger: BlockingLedger) -> None:
    record = lapsing(ledger, 0.02, linger_s=LINGER_S)
    eventually(lambda: swept_to(record, State.CANCELLED), "the call is cancelled")
    assert (
        float(record.fields["finished_at"]) - float(record.fields["created_at"]) >= LINGER_S * 1000
    )


def test_a_watch_that_is_renewed_does_not_lapse(ledger: BlockingLedger) -> None:
    renewed, other = (lapsing(ledger, 0.5, linger_s=0.0) for _ in range(2))

    def other_lapsed() -> bool:
        ledger.run(with_lease(watch(renewed.call, NOBODY), LONG_S))
        return swept_to(other, State.CANCELLED)

    eventually(other_lapsed, "the other's watch lapses")
    assert renewed.state is State.QUEUED


def test_an_expired_watch_does_not_count_when_the_last_live_watcher_disconnects(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger, "alive", linger_s=0.0)
    ledger.run(with_lease(watch(record.call, NOBODY), 0.02))

    def lapsed() -> bool:
        seconds, microseconds = ledger.redis.time()  # type: ignore[misc]
        return bool(seconds * 1000 + microseconds // 1000 > record.watches[NOBODY])

    eventually(lapsed, "the dead gateway's watch lapses")
    ledger.run(leave(record.call, "alive"))
    sweep_all(ledger)
    assert record.state is State.CANCELLED, "it goes on until the leaver's own lease has ended"


async def test_watching_and_leaving_work_over_asyncio_too(
    aio_ledger: Ledger, ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name, linger_s=0.0)
    assert isinstance(await aio_ledger.run(watch(record.call, channel.name)), CallSnapshot)
    assert await aio_ledger.run(watch(new_key(), channel.name)) == Refused(Refusal.UNKNOWN)
    with Channel(ledger, "another") as another:
        await aio_ledger.run(watch(record.call, another.name))
        await aio_ledger.run(leave(record.call, channel.name))
        await aio_ledger.run(leave(record.call, another.name))
        assert (channel.received(), another.received()) == ([], [])
    assert record.state is State.CANCELLED


def test_watchers_are_notified_when_a_call_expires(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name, run_limit_s=0.05)
    eventually(lambda: swept_to(record, State.EXPIRED), "it expires")
    _, ended = parse_frame(channel.received()[-1])
    assert isinstance(ended, Ending)
    assert (ended.state, ended.reason) == (State.EXPIRED, "DEADLINE_EXCEEDED")
