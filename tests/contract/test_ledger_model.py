"""The ledger's scripts, on a real server, agree with the model for random operations."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.frames import (
    Credit,
    Ending,
    Item,
    ItemsStored,
    RequestsCame,
    RequestWindowOpen,
    Stop,
    parse_control,
    parse_frame,
)
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    Flow,
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
from forebay_backends.ledger.operations.base import Operation, Push, Refusal, Refused
from forebay_backends.ledger.operations.calls import Start, credit, end, leave
from forebay_backends.ledger.operations.delayed import start
from forebay_backends.ledger.operations.requests import complete, receive, take_requests
from tests.contract.channel import Channel
from tests.contract.ledger_model import SUBSCRIBED, Model, Terms, Time
from tests.contract.records import NOBODY, QUEUE, Record, accepted, sweep_all

ENDS = [Event.SUCCEED, Event.FAIL, Event.CANCEL]
WORKERS = st.sampled_from(["one", "one", "two"])
CHANNELS = st.sampled_from([SUBSCRIBED, NOBODY])
BACK = st.sampled_from([0, 0, 0, 0, 1, -1])  # the difference from the present attempt number
RARELY = st.sampled_from([False] * 7 + [True])  # for operations that end a call
KINDS = st.sampled_from(["one request", "one request", "spooled", "live", "delayed"])
TERMS = KINDS.flatmap(
    lambda kind: st.builds(
        Terms,
        receiving=st.just(kind == "spooled"),
        live=st.just(kind == "live"),
        delayed=st.just(kind == "delayed"),
        window=st.just(12),
        may_run_again=st.sampled_from([True, True, False]),
        deterministic=st.booleans(),
        attempts_limit=st.sampled_from([1, 2, 2, 3, 3]),
        deadline=st.booleans(),
        run_limit=st.booleans(),
        detach=st.booleans(),
        lingers=st.booleans(),
    )
)


class Life(RuleBasedStateMachine):
    """A call on a real server, and its model."""

    ledger: ClassVar[BlockingLedger]
    gateway: ClassVar[Channel]
    control: ClassVar[Channel]

    @initialize(terms=TERMS, channel=CHANNELS, begun=st.booleans())
    def accept(self, terms: Terms, channel: str, begun: bool) -> None:
        self.model = Model(terms, {channel})
        self.record: Record = accepted(
            self.ledger,
            self._named(channel),
            receiving=terms.receiving,
            live=terms.live,
            start=Start(600.0, is_relative=True) if terms.delayed else None,
            idle_s=600.0,
            window_bytes=terms.window,
            may_run_again=terms.may_run_again,
            deterministic=terms.deterministic,
            attempts_limit=terms.attempts_limit,
            timeout_s=600.0 if terms.deadline else None,
            run_limit_s=500.0 if terms.run_limit else None,
            detach=terms.detach,
            linger_s=600.0 if terms.lingers else 0.0,
            queue_wait_s=600.0,
        )
        self.call = self.record.call
        if begun and not terms.receiving:
            self.begin(0, "one")

    @rule(ahead=st.sampled_from([0, 0, -1, 1]), request=st.binary(max_size=5))
    def receive(self, ahead: int, request: bytes) -> None:
        ordinal = max(0, len(self.model.inputs) + ahead)
        self._same(receive(self.call, ordinal, request, 1000), self.model.receive(ordinal, request))

    @rule()
    def complete(self) -> None:
        self._same(complete(self.call, Push()), self.model.complete())

    @precondition(lambda self: self.model.terms.delayed)
    @rule(is_due=st.booleans())
    def start(self, is_due: bool) -> None:
        if is_due:
            self.a_time_comes(Time.START, really=True)
        self._same(start(self.call, Push()), self.model.start())

    @precondition(lambda self: self.model.terms.live)
    @rule(back=BACK, ahead=st.sampled_from([0, 0, 0, 1, 2, -1]), goes_on=st.booleans())
    def take_requests(self, back: int, ahead: int, goes_on: bool) -> None:
        model, attempt = self.model, self.model.attempt - back
        first = len(model.inputs) if goes_on else max(0, model.taken + ahead)
        size = sum(map(len, model.inputs[:first]))
        self._same(
            take_requests(self.call, attempt, first, size), model.take_requests(attempt, first)
        )

    @rule(back=BACK, worker=WORKERS)
    def claim(self, back: int, worker: str) -> None:
        attempt = self.model.attempt - back
        self._same(claim(self.call, attempt, worker), self.model.claim(attempt, worker))

    @rule(back=BACK, worker=WORKERS)
    def begin(self, back: int, worker: str) -> None:
        attempt = self.model.attempt - back
        operation = begin(self.call, attempt, worker, self.control.name)
        self._same(operation, self.model.begin(attempt, worker))

    @rule(back=BACK, worker=WORKERS)
    def renew(self, back: int, worker: str) -> None:
        attempt = self.model.attempt - back
        operation = renew(self.call.partition, worker, [(self.call, attempt)])
        (reply,) = self.ledger.run(operation)
        assert (None if reply is None else reply.why) == self.model.renew(attempt, worker)

    @rule(back=BACK, worker=WORKERS)
    def release(self, back: int, worker: str) -> None:
        attempt = self.model.attempt - back
        self._same(release(self.call, attempt, worker), self.model.release(attempt, worker))

    @rule(back=BACK, ahead=st.sampled_from([0, 0, 0, -1, 1]), item=st.binary(max_size=5))
    def emit(self, back: int, ahead: int, item: bytes) -> None:
        attempt, ordinal = self.model.attempt - back, max(0, len(self.model.items) + ahead)
        operation = emit(self.call, attempt, ordinal, item)
        self._same_flow(operation, self.model.emit(attempt, ordinal, item))

    @rule(back=BACK)
    def emit_transient(self, back: int) -> None:
        attempt = self.model.attempt - back
        operation = emit_transient(self.call, attempt, b"transient")
        self._same(operation, self.model.emit_transient(attempt))

    @rule(back=BACK)
    def look(self, back: int) -> None:
        attempt = self.model.attempt - back
        self._same_flow(read_flow(self.call, attempt), self.model.look(attempt))

    @rule(back=BACK, kept=st.integers(0, 2))
    def trim(self, back: int, kept: int) -> None:
        attempt, count = self.model.attempt - back, max(0, len(self.model.items) - kept)
        size = sum(map(len, self.model.items[:count]))
        self._same(trim(self.call, attempt, count, size), self.model.trim(attempt, count))

    @rule(event=st.sampled_from(ENDS), back=BACK, really=RARELY)
    def finish(self, event: Event, back: int, really: bool) -> None:
        if not (really or back or Time.DEADLINE in self.model.come):
            return
        attempt = self.model.attempt - back
        operation = finish(self.call, attempt, event, "WHY", b"outcome")
        self._same(operation, self.model.finish(event, attempt))

    @rule(event=st.sampled_from([*ENDS, Event.EXPIRE]), really=RARELY)
    def end(self, event: Event, really: bool) -> None:
        if really or self.model.state.terminal:
            self._same(end(self.call, event, "WHO"), self.model.end(event, "WHO"))

    @rule(channel=CHANNELS)
    def watch(self, channel: str) -> None:
        self.model.watch(channel)
        snapshot = self.record.snapshot(self._named(channel))
        items = self.model.items
        assert (snapshot.state, snapshot.attempt) == (self.model.state, self.model.attempt)
        assert (snapshot.count, snapshot.sent) == (len(items), sum(map(len, items)))
        assert snapshot.first == self.model.trimmed
        assert snapshot.receiving == (self.model.receiving and not self.model.state.terminal)
        assert (snapshot.ending is not None) == self.model.state.terminal

    @rule(channel=CHANNELS)
    def leave(self, channel: str) -> None:
        self._same(leave(self.call, self._named(channel)), self.model.leave(channel))

    @rule(count=st.integers(0, 5))
    def credit(self, count: int) -> None:
        self._same(credit(self.call, count), self.model.credit(count))

    @rule(consumed=st.booleans())
    def sweep(self, consumed: bool) -> None:
        self.model.sweep(consumed=consumed)
        sweep_all(self.ledger, [QUEUE] if consumed else [])

    @rule(time=st.sampled_from(Time), really=RARELY)
    def a_time_comes(self, time: Time, really: bool) -> None:
        if time not in self.model.has - self.model.come:
            return
        if time is Time.DEADLINE and not really:
            return
        self.model.come.add(time)
        fields = {time.value: 1}
        one_deadline = not self.model.terms.run_limit and "call_deadline" in self.record.fields
        if time is Time.DEADLINE and one_deadline:
            fields["call_deadline"] = 1
        self.ledger.redis.hset(f"{self.call.partition}:call:{self.call}", mapping=fields)
        self._is_due()

    @precondition(lambda self: self.model.worker)
    @rule(worker=WORKERS)
    def a_claim_lapses(self, worker: str) -> None:
        """The worker is lost; the next one gets the call, if any may."""
        self.a_time_comes(Time.CLAIM, really=True)
        self.sweep(consumed=True)
        self.begin(0, worker)

    @precondition(lambda self: not self.model.state.terminal and self.model.live)
    @rule(data=st.data())
    def a_watch_lapses(self, data: st.DataObject) -> None:
        channel = data.draw(st.sampled_from(sorted(self.model.live)))
        self.model.lapsed.add(channel)
        if self._named(channel) in self.record.watchers:
            self.record.set_watch(self._named(channel), 1)
        if not self.model.live:
            self._is_due()

    @invariant()
    def the_record_is_the_models(self) -> None:
        model, fields = self.model, self.record.fields
        assert self.record.state is model.state
        assert int(fields["attempt"]) == model.attempt
        assert fields.get("worker", b"").decode() == (model.worker or "")
        assert self.record.items == model.items[model.trimmed :]
        assert self.record.inputs == ([] if model.state.terminal else model.inputs[model.let_go :])
        assert set(self.record.watchers) == {self._named(channel) for channel in model.watchers}
        assert fields.get("reason", b"").decode() == model.reason
        if model.state.terminal:
            return
        assert int(fields.get("items_read", 0)) == model.read_count
        assert (int(fields.get("deadline", 0)) > 0) == model.deadline
        if model.terms.deadline and not model.controlled and Time.DEADLINE not in model.come:
            assert int(fields["deadline"]) - int(fields["created_at"]) == 600_000, "the call's own"

    @invariant()
    def the_indexes_are_the_models(self) -> None:
        model, server, prefix = self.model, self.ledger.redis, self.call.partition
        waits = server.zscore(f"{prefix}:waiting:{QUEUE}", str(self.call))
        assert (waits is not None) == model.waits
        delayed = server.zscore(f"{prefix}:delayed", str(self.call))
        assert (delayed is not None) == (model.state is State.DELAYED)
        done = server.zscore(f"{prefix}:done", str(self.call))
        assert (done is not None) == model.state.terminal
        due = cast("float | None", server.zscore(f"{prefix}:due", str(self.call)))
        if model.state.terminal:
            assert due is None
            return
        fields = self.record.fields
        reviewed = model.has - {Time.ABANDONED, Time.START}
        times = [float(fields[time.value]) for time in reviewed]
        assert due is not None or not times
        assert due is None or due <= min(times, default=due)

    @invariant()
    def who_is_to_know_was_told(self) -> None:
        published: list[tuple[object, ...]] = []
        for _, event in map(parse_frame, self.gateway.received()):
            match event:
                case Item(ordinal):
                    published.append(("item", ordinal))
                case ItemsStored(count):
                    published.append(("item", count - 1))
                case Ending(state, response=response):
                    if response is not None:
                        published.append(("item", 0))
                    published.append(("end", str(state)))
                case RequestWindowOpen():
                    published.append(("room",))
                case _:
                    published.append(("transient",))
        assert published == self.model.published
        control_events: list[tuple[object, ...]] = []
        for _, attempt, event in map(parse_control, self.control.received()):
            match event:
                case Stop(state):
                    control_events.append(("stop", attempt, str(state)))
                case Credit(read_count):
                    control_events.append(("credit", attempt, read_count))
                case RequestsCame(count):
                    control_events.append(("requests", attempt, count))
        assert control_events == self.model.control_events
        self.model.published, self.model.control_events = [], []

    def teardown(self) -> None:
        if hasattr(self, "record"):
            self.ledger.redis.flushdb()

    def _named(self, channel: str) -> str:
        return self.gateway.name if channel == SUBSCRIBED else channel

    def _is_due(self) -> None:
        self.ledger.redis.zadd(f"{self.call.partition}:due", {str(self.call): 1})

    def _same(self, operation: Operation[Any], expected: State | Refusal | None) -> None:
        reply = self.ledger.run(operation)
        assert (reply.why if isinstance(reply, Refused) else None) == expected

    def _same_flow(
        self, operation: Operation[Flow | Refused], expected: State | Refusal | None
    ) -> None:
        flow = Flow(self.model.read_count, len(self.model.live))
        assert self.ledger.run(operation) == (flow if expected is None else Refused(expected))


@pytest.mark.usefixtures("message_paths")
def test_the_scripts_do_what_the_model_does(
    ledger: BlockingLedger, channel: Channel, control: Channel
) -> None:
    class LifeHere(Life):
        pass

    LifeHere.ledger, LifeHere.gateway, LifeHere.control = ledger, channel, control
    run_state_machine_as_test(
        LifeHere,
        settings=settings(
            max_examples=80,
            stateful_step_count=30,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # to shrink takes longer than a test may
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
