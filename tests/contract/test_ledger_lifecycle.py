"""Any sequence of operations leads a call where the life cycle's table says, and nowhere else."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from forebay_ledger.connection import BlockingLedger
from forebay_ledger.lifecycle import Event, State, next_state
from forebay_ledger.operations import (
    Operation,
    Push,
    Refused,
    begin,
    cancel,
    claim,
    complete,
    emit,
    emit_transient,
    end,
    finish,
    look,
    receive,
    trim,
)
from tests.contract.records import Record, accepted, sweep_all

ENDS = (Event.SUCCEED, Event.FAIL, Event.CANCEL)
ATTEMPTS = st.sampled_from([1, 1, 1, 2])
WORKERS = st.sampled_from(["one", "two"])


class Life(RuleBasedStateMachine):
    """A call on a real server, beside the model: the table, and what was stored."""

    ledger: ClassVar[BlockingLedger]

    @initialize(receiving=st.booleans())
    def accept(self, receiving: bool) -> None:
        self.record: Record = accepted(self.ledger, receiving=receiving, queue_wait_s=600.0)
        self.state = State.RECEIVING if receiving else State.QUEUED
        self.items: list[bytes] = []
        self.inputs: list[bytes] = []
        self.trimmed = 0
        self.claimed_by: str | None = None
        self.controls = 0

    @rule(attempt=ATTEMPTS, worker=WORKERS)
    def claim(self, attempt: int, worker: str) -> None:
        taken = self._taken_from(worker)
        if self._happens(Event.CLAIM, claim(self.record.call, attempt, worker), attempt, taken):
            self.claimed_by = worker

    @rule(attempt=ATTEMPTS, worker=WORKERS)
    def begin(self, attempt: int, worker: str) -> None:
        self.controls += 1  # another process each time: one that repeats itself may be heard
        operation = begin(self.record.call, attempt, worker, f"control-{self.controls}")
        self._happens(Event.BEGIN, operation, attempt, self._taken_from(worker))

    @rule(attempt=ATTEMPTS, ahead=st.sampled_from([0, 0, 0, -1, 1]), item=st.binary(max_size=5))
    def emit(self, attempt: int, ahead: int, item: bytes) -> None:
        ordinal = max(0, len(self.items) + ahead)
        operation = emit(self.record.call, attempt, ordinal, item)
        gap = "GAP" if ordinal > len(self.items) else None
        if self._happens(Event.EMIT, operation, attempt, gap) and ordinal == len(self.items):
            self.items.append(item)

    @rule(attempt=ATTEMPTS)
    def emit_transient(self, attempt: int) -> None:
        self._happens(Event.EMIT, emit_transient(self.record.call, attempt, b"brief"), attempt)

    @rule(attempt=ATTEMPTS)
    def look(self, attempt: int) -> None:
        self._happens(Event.EMIT, look(self.record.call, attempt), attempt)

    @rule(attempt=ATTEMPTS, back=st.integers(0, 2))
    def trim(self, attempt: int, back: int) -> None:
        count = max(0, len(self.items) - back)
        size = sum(map(len, self.items[:count]))
        if self._happens(Event.EMIT, trim(self.record.call, attempt, count, size), attempt):
            self.trimmed = max(self.trimmed, count)

    @rule(request=st.binary(max_size=5))
    def receive(self, request: bytes) -> None:
        operation = receive(self.record.call, len(self.inputs), request, 1000)
        if self._happens(Event.RECEIVE, operation):
            self.inputs.append(request)

    @precondition(lambda self: self.state is not State.QUEUED)  # said twice, it may be heard
    @rule()
    def complete(self) -> None:
        self._happens(Event.COMPLETE, complete(self.record.call, Push()))

    @rule(event=st.sampled_from(ENDS), attempt=ATTEMPTS)
    def finish(self, event: Event, attempt: int) -> None:
        operation = finish(self.record.call, attempt, event, "WHY", b"outcome")
        self._happens(event, operation, attempt)

    @rule(event=st.sampled_from([*ENDS, Event.EXPIRE]))
    def end(self, event: Event) -> None:
        self._happens(event, end(self.record.call, event, "WHY"))

    @rule()
    def cancel(self) -> None:
        self._happens(Event.CANCEL, cancel(self.record.call))

    @rule()
    def sweep(self) -> None:
        sweep_all(self.ledger, ("queue",))

    @rule()
    def watch(self) -> None:
        standing = self.record.standing()
        assert standing.count == len(self.items)
        assert standing.sent == sum(map(len, self.items))
        assert (standing.ending.state if standing.ending else None) == (
            self.state if self.state.terminal else None
        )

    @invariant()
    def the_server_agrees(self) -> None:
        assert self.record.state is self.state
        assert self.record.items == self.items[self.trimmed :]
        assert self.record.inputs == ([] if self.state.terminal else self.inputs)

    def _taken_from(self, worker: str) -> str | None:
        return "TAKEN" if self.claimed_by not in (None, worker) else None

    def _happens(
        self,
        event: Event,
        operation: Operation[object],
        attempt: int = 1,
        otherwise: str | None = None,
    ) -> bool:
        """Runs the operation; whether it took place, as the table says."""
        successor = next_state(self.state, event)
        why = str(self.state) if successor is None else "STALE" if attempt != 1 else otherwise
        reply = self.ledger.run(operation)
        if why is not None or successor is None:
            assert reply == Refused(str(why))
            return False
        assert not isinstance(reply, Refused)
        self.state = successor
        return True


def test_a_call_goes_where_the_life_cycles_table_says(ledger: BlockingLedger) -> None:
    class LifeHere(Life):
        pass

    LifeHere.ledger = ledger
    run_state_machine_as_test(
        LifeHere,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", [Event.SUCCEED, Event.FAIL, Event.CANCEL, Event.EXPIRE])
def test_every_end_has_its_place_in_the_table(
    ledger: BlockingLedger, state: State, event: Event
) -> None:
    record = accepted(ledger, receiving=True)
    ledger.redis.hset(f"{record.call.partition}:call:{record.call}", "state", str(state))
    successor = next_state(state, event)
    reply = ledger.run(end(record.call, event, "WHY"))
    assert reply == (None if successor else Refused(str(state)))
    assert record.state is (successor or state)
