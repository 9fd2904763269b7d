"""Several clients that end one call at the same moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.frames import Ending, parse_frame
from forebay_backends.ledger.keys import PARTITIONS, CallKey
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import Begun, begin, claim, emit, finish
from forebay_backends.ledger.operations.base import Operation, Push, Refused
from forebay_backends.ledger.operations.calls import accept, cancel, end, leave
from forebay_backends.ledger.operations.maintenance import sweep
from tests.contract.channel import Channel
from tests.contract.records import NOBODY, Record, accepted, new_call, new_key, running, sweep_all
from tests.harness import eventually

ROUNDS = 25
PUSH = Push("queue", b"message")


def at_once(works: Sequence[Callable[[], object]]) -> list[object]:
    """The results of all functions, started at the same time."""
    barrier = Barrier(len(works))

    def begin_together(work: Callable[[], object]) -> object:
        barrier.wait(10.0)
        return work()

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(begin_together, works))


def running_each(ledger: BlockingLedger, *operations: Operation[object]) -> list[object]:
    """The replies to operations that run at the same moment."""
    return at_once([partial(ledger.run, operation) for operation in operations])


def test_one_of_several_ends_reaches_the_terminal_state(
    ledger: BlockingLedger, channel: Channel
) -> None:
    for _ in range(ROUNDS):
        record = running(ledger, channel.name)
        replies = running_each(
            ledger,
            finish(record.call, 1, Event.SUCCEED, "", b"done"),
            finish(record.call, 1, Event.FAIL, "", b"failed"),
            cancel(record.call),
            cancel(record.call),
            end(record.call, Event.EXPIRE, "DEADLINE_EXCEEDED"),
        )
        ends_once(record, channel)
        assert replies.count(None) == 1
        assert replies.count(Refused(record.state)) == len(replies) - 1
        led_to = [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.CANCELLED, State.EXPIRED]
        assert record.state is led_to[replies.index(None)]


def test_an_end_by_the_clock_is_one_end_too(ledger: BlockingLedger, channel: Channel) -> None:
    for _ in range(ROUNDS):
        record = running(ledger, channel.name, run_limit_s=0.01, linger_s=0.0)
        eventually(record.is_past_its_deadline, "the deadline passes")
        sweeps = [sweep(number, ()) for number in range(PARTITIONS)]
        running_each(
            ledger,
            finish(record.call, 1, Event.SUCCEED, "", b"done"),
            emit(record.call, 1, 0, b"item"),
            cancel(record.call),
            leave(record.call, NOBODY),
            *[sweep for sweep in sweeps if sweep.partition == record.call.partition] * 3,
        )
        ends_once(record, channel)
        assert record.state in (State.EXPIRED, State.CANCELLED)
        assert record.items == []


def test_one_of_several_gateways_accepts_a_call(ledger: BlockingLedger) -> None:
    for _ in range(ROUNDS):
        replies = running_each(ledger, *[accept(new_key(), new_call(), NOBODY, PUSH)] * 4)
        assert replies.count(None) == 1
    assert ledger.redis.llen("queue") == ROUNDS


def take(ledger: BlockingLedger, call: CallKey, worker: str) -> bool:
    """Whether the worker got the call."""
    if ledger.run(claim(call, 1, worker)) is not None:
        return False
    return isinstance(ledger.run(begin(call, 1, worker, worker)), Begun)


def test_one_of_several_workers_gets_a_call(ledger: BlockingLedger) -> None:
    for _ in range(ROUNDS):
        call = accepted(ledger).call
        won = at_once([partial(take, ledger, call, worker) for worker in ("one", "two", "three")])
        assert won.count(True) == 1


def ends_once(record: Record, channel: Channel) -> None:
    """The call ended once, as reported, and does not change."""
    ends = [
        event
        for key, event in map(parse_frame, channel.received())
        if isinstance(event, Ending) and key == str(record.call)
    ]
    assert ends == [record.ending()]
    before = record.fields
    record.ledger.run(cancel(record.call))
    sweep_all(record.ledger)
    assert record.fields == before
