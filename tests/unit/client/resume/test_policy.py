"""Whether, when, where and with what metadata a call is retried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

from forebay.compute.v1 import compute_pb2 as pb
from forebay.deadline import Deadline
from forebay.errors import (
    BackendError,
    BackendUnavailable,
    CallerError,
    CallUnknown,
    Cancelled,
    DeadlineExceeded,
    Draining,
    ForebayError,
    HandlerAborted,
    NoWorkers,
    QueueFull,
    QueueWait,
    TooLarge,
    Unauthenticated,
    WorkerLost,
)
from forebay.errors.status import from_status
from forebay.resume.cancel_request import cancel_request
from forebay.resume.policy import (
    MAX_BACKOFF_S,
    RETRY_FOR_S,
    RETRY_UNACCEPTED_FOR_S,
    ResumePolicy,
)
from forebay.resume.targets import Rotation
from forebay.routes import Method, method_of, read_methods
from tests.plain.v1 import plain_pb2
from tests.unit.samples import METHODS, FakeClock, method

ITEM = pb.FactorialResponse(digits="1")
PROGRESS = pb.FactorialResponse(progress=pb.Progress(fraction=0.5))


class Call:
    """A call, of Factorial by default, on a fake clock."""

    def __init__(
        self,
        method: Method | None = METHODS["Factorial"],
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float | None = None,
        targets: int = 1,
        random: float = 1.0,
        renews_token: bool = False,
        request_id: str = "",
    ) -> None:
        self.clock = FakeClock()
        self.policy = ResumePolicy(
            method,
            metadata,
            Deadline.after(timeout_s, self.clock),
            Rotation(targets, self.clock),
            random=lambda: random,
            new_id=lambda: "made",
            request_id=request_id,
            renews_token=renews_token,
        )

    def begin(self) -> dict[str, Any]:
        """The metadata of the next attempt."""
        return dict(self.policy.attempt().metadata)

    def wait_s(
        self, error: ForebayError, *, accepted: bool = False, call_id: str | None = None
    ) -> float | None:
        """The delay after a failure; the clock moves on by it."""
        wait_s = self.policy.on_failure(error, accepted=accepted, call_id=call_id)
        self.clock.now += wait_s or 0.0
        return wait_s


def lost() -> ForebayError:
    """The error that gRPC itself reports for a broken connection."""
    error = BackendError("Socket closed")
    error.domain = ""
    return error


def foreign(error: ForebayError, domain: str, reason: str) -> ForebayError:
    error.domain, error.reason = domain, reason
    return error


@pytest.mark.parametrize(
    "error",
    [
        lost(),
        foreign(Cancelled("RST_STREAM"), "", ""),
        from_status(code_pb2.INTERNAL, "Stream removed (RST_STREAM)", None),
        from_status(code_pb2.UNKNOWN, "Stream removed (END_STREAM)", None),
        BackendUnavailable("the ledger is down", retry_after_s=1.0),
        Draining("leaving", retry_after_s=1.0),
        QueueFull("full", retry_after_s=1.0),
    ],
)
def test_transient_failures_are_retried(error: ForebayError) -> None:
    call = Call()
    call.begin()
    assert call.wait_s(error) is not None


@pytest.mark.parametrize(
    "error",
    [
        WorkerLost("stored"),
        NoWorkers("stored"),
        QueueWait("stored"),
        TooLarge("never fits"),
        Cancelled("asked for"),
        CallerError("wrong"),
        HandlerAborted("the handler's own", retry_after_s=1.0),
        foreign(BackendError("the handler's own", retry_after_s=1.0), "tea.example", "NO_TEA"),
    ],
)
def test_stored_outcomes_and_bad_requests_are_final(error: ForebayError) -> None:
    call = Call()
    call.begin()
    assert call.wait_s(error) is None


def test_all_attempts_have_one_id_and_report_the_items_seen() -> None:
    call = Call(metadata=[("x-wish", "tea")])
    first = {"forebay-call-id": "made", "forebay-cache-control": "share"}
    assert call.begin() == {"x-wish": "tea", **first}
    for response in (PROGRESS, ITEM, PROGRESS, ITEM):
        call.policy.on_response(response)
    call.wait_s(lost())
    assert call.begin() == {
        "x-wish": "tea",
        "forebay-call-id": "made",
        "forebay-resume-from": "2",
    }


def test_the_callers_own_id_and_items_are_kept() -> None:
    own = [("forebay-call-id", "mine"), ("forebay-resume-from", "3")]
    call = Call(metadata=own)
    assert call.begin() == dict(own)
    call.policy.on_response(ITEM.SerializeToString())  # of a stub that leaves bytes alone
    call.wait_s(lost())
    assert call.begin() == {"forebay-call-id": "mine", "forebay-resume-from": "4"}


def test_a_call_that_shares_a_run_is_resumed_by_the_runs_id() -> None:
    call = Call()
    call.begin()
    call.wait_s(lost(), accepted=True, call_id="run")
    # Without an item, the call may as well share another run.
    assert call.begin() == {"forebay-call-id": "made", "forebay-cache-control": "share"}
    call.policy.on_response(ITEM)
    call.wait_s(lost(), accepted=True, call_id="run")
    assert call.begin() == {"forebay-call-id": "run", "forebay-resume-from": "1"}
    assert cancel_request(call.policy) is None  # others may share the run


def test_a_request_stream_that_shares_a_run_is_not_sent_again() -> None:
    call = Call(METHODS["MatMul"])
    assert call.begin() == {"forebay-call-id": "made", "forebay-cache-control": "share"}
    call.wait_s(lost(), accepted=True, call_id="run")
    assert not call.policy.sends_requests
    assert call.begin() == {"forebay-call-id": "run"}


def test_only_ids_that_the_channel_made_give_way_to_a_runs() -> None:
    own = Call(metadata=[("forebay-call-id", "mine")])
    assert own.begin() == {"forebay-call-id": "mine"}
    own.policy.on_response(ITEM)
    own.wait_s(lost(), accepted=True, call_id="run")
    assert own.begin() == {"forebay-call-id": "mine", "forebay-resume-from": "1"}
    effects = Call(replace(METHODS["Factorial"], may_run_again=False))
    assert effects.begin() == {"forebay-call-id": "made"}


def test_the_id_is_known_unless_a_gateway_refused_the_call() -> None:
    call = Call()
    call.begin()
    assert call.policy.known_id == "made"  # before any answer: the call may have been accepted
    call.wait_s(lost())
    assert call.policy.known_id == "made"
    call.wait_s(QueueFull("full", retry_after_s=0.1))
    assert call.policy.known_id is None
    call.wait_s(QueueFull("full", retry_after_s=0.1), accepted=True, call_id="made")
    assert call.policy.known_id == "made"


def test_the_callers_own_id_is_known_whatever_happens() -> None:
    call = Call(metadata=[("forebay-call-id", "mine")])
    call.begin()
    call.wait_s(CallerError("no"))
    assert call.policy.known_id == "mine"
    assert Call(None, metadata=[("forebay-call-id", "mine")]).policy.known_id == "mine"


def test_an_id_in_the_request_is_the_callers_own() -> None:
    call = Call(request_id="mine")
    assert call.begin()["forebay-call-id"] == "mine"
    call.wait_s(DeadlineExceeded("it came too late"))
    assert call.policy.known_id == "mine"


def test_an_id_that_a_gateway_gave_is_known_after_later_attempts_got_none() -> None:
    for call, call_id in ((Call(), "run"), (Call(METHODS["Add"]), "ephemeral")):
        call.begin()
        call.wait_s(lost(), accepted=True, call_id=call_id)
        call.begin()
        call.wait_s(lost())
        assert call.policy.known_id == call_id


def test_the_callers_cache_directives_are_kept() -> None:
    call = Call(metadata=[("forebay-cache-control", "no-cache")])
    assert call.begin()["forebay-cache-control"] == "no-cache, share"
    add = Call(METHODS["Add"], metadata=[("forebay-cache-control", "no-cache")])
    assert add.begin() == {"forebay-cache-control": "no-cache"}


def test_ephemeral_calls_have_no_id_and_are_retried_if_their_method_may_run_again() -> None:
    add = Call(METHODS["Add"])
    assert add.begin() == {}
    assert add.wait_s(lost()) is not None
    once = Call(replace(METHODS["Add"], may_run_again=False))
    once.begin()
    assert once.wait_s(lost()) is None
    assert once.wait_s(QueueFull("full", retry_after_s=1.0)) is not None


def test_only_calls_with_an_id_are_retried_after_a_proxys_limit_on_duration() -> None:
    limit = from_status(code_pb2.DEADLINE_EXCEEDED, "downstream duration timeout", None)
    durable, again = Call(timeout_s=60.0), Call(METHODS["Add"], timeout_s=60.0)
    for call in (durable, again):
        call.begin()
    assert durable.wait_s(limit) is not None
    assert again.wait_s(limit) is None
    durable.begin()
    durable.clock.now += 60.0
    assert durable.wait_s(limit) is None  # the deadline is the caller's own


def test_a_stream_that_a_proxy_always_breaks_ends_after_a_bounded_time() -> None:
    broken = from_status(code_pb2.INTERNAL, "Stream removed", None)
    call = Call(timeout_s=300.0)
    begun, attempts = call.clock.now, 1
    while call.wait_s(broken, accepted=True) is not None:
        call.begin()
        attempts += 1
    assert call.clock.now - begun <= 300.0
    assert attempts <= 300.0 / MAX_BACKOFF_S + 10


def test_calls_of_plain_tasks_have_no_id_and_are_not_retried_after_an_item() -> None:
    plain = read_methods([plain_pb2.DESCRIPTOR.services_by_name["PlainService"]])
    add, steps = (
        next(method for method in plain if method.name.endswith(name))
        for name in (".Add", ".DoInSteps")
    )
    call = Call(add)
    assert call.begin() == {}
    assert call.wait_s(lost()) is not None
    assert Call(steps).wait_s(lost()) is None  # it has effects
    stream = Call(replace(steps, may_run_again=True))
    stream.begin()
    stream.policy.on_response(plain_pb2.Step(progress=plain_pb2.Progress(done=1)))
    assert stream.wait_s(lost()) is not None
    stream.begin()
    stream.policy.on_response(plain_pb2.Step(value="a"))
    assert stream.wait_s(lost()) is None


def test_a_method_without_a_route_is_attempted_once() -> None:
    call = Call(None)
    assert call.begin() == {}
    assert call.wait_s(lost()) is None
    assert method_of("/no.such.Service/Method") is None
    assert method_of("/forebay.compute.v1.ComputeService/NoSuch") is None
    found = method_of("/forebay.compute.v1.ComputeService/Add")
    assert found == METHODS["Add"]


def test_requests_are_sent_until_a_gateway_has_accepted_the_call() -> None:
    call = Call(METHODS["MatMul"])
    assert call.policy.attempt().sends_requests
    call.wait_s(lost())
    assert call.policy.attempt().sends_requests
    call.wait_s(lost(), accepted=True)
    assert not call.policy.attempt().sends_requests
    for other in (method("MatMul", live=True), METHODS["Factorial"]):
        call = Call(other)
        call.begin()
        call.wait_s(lost(), accepted=True)
        assert call.policy.attempt().sends_requests


def test_an_empty_request_stream_is_sent_without_an_id() -> None:
    call = Call(METHODS["MatMul"])
    assert "forebay-call-id" in call.begin()
    assert call.wait_s(CallUnknown("no such call")) == 0.0
    assert call.begin() == {}
    assert call.wait_s(CallUnknown("no such call")) is None
    own = Call(METHODS["MatMul"], metadata=[("forebay-call-id", "mine")])
    own.begin()
    assert own.wait_s(CallUnknown("no such call")) is None


def test_retry_info_is_the_shortest_delay() -> None:
    for random in (0.0, 0.5, 1.0):
        call = Call(random=random)
        call.begin()
        wait_s = call.wait_s(Draining("leaving", retry_after_s=2.0))
        assert wait_s is not None
        assert 2.0 <= wait_s <= 2.5


def test_the_delay_doubles_when_all_targets_have_failed_up_to_a_maximum() -> None:
    call = Call(targets=2, timeout_s=1000.0)
    waits = []
    for _ in range(20):
        call.begin()
        waits.append(call.wait_s(lost()) or 0.0)
    assert waits[:6] == [0.1, 0.1, 0.2, 0.2, 0.4, 0.4]
    assert waits[-1] == MAX_BACKOFF_S
    call.policy.on_response(ITEM)
    assert call.wait_s(lost()) == 0.1


def test_a_retry_after_the_deadline_is_not_made() -> None:
    call = Call(timeout_s=3.0)
    call.begin()
    assert call.wait_s(Draining("leaving", retry_after_s=2.0)) is not None
    assert call.policy.attempt().timeout_s == pytest.approx(0.6)
    assert call.wait_s(Draining("leaving", retry_after_s=2.0)) is None


@pytest.mark.parametrize(
    ("accepted", "retry_for_s"), [(False, RETRY_UNACCEPTED_FOR_S), (True, RETRY_FOR_S)]
)
def test_a_call_without_a_deadline_is_retried_for_a_bounded_time(
    accepted: bool, retry_for_s: float
) -> None:
    call = Call()
    call.begin()
    begun = call.clock.now
    assert call.wait_s(lost(), accepted=accepted) is not None
    while call.wait_s(lost()) is not None:
        call.begin()
    assert retry_for_s - MAX_BACKOFF_S <= call.clock.now - begun <= retry_for_s


def test_a_call_without_a_deadline_is_retried_for_a_minute_and_unaccepted_for_10_s() -> None:
    assert (RETRY_FOR_S, RETRY_UNACCEPTED_FOR_S) == (60.0, 10.0)


def test_a_long_accepted_attempt_restarts_that_time() -> None:
    call = Call()
    for _ in range(10):
        call.begin()
        call.clock.now += RETRY_FOR_S
        assert call.wait_s(lost(), accepted=True) is not None


def test_targets_take_turns_and_are_avoided_after_a_failure() -> None:
    clock = FakeClock()
    rotation = Rotation(3, clock)
    assert [rotation.next() for _ in range(4)] == [0, 1, 2, 0]
    rotation.failed(1)
    assert {rotation.next() for _ in range(6)} == {0, 2}
    rotation.answered(1)
    assert {rotation.next() for _ in range(6)} == {0, 1, 2}
    rotation.failed(1)
    clock.now += 60
    assert {rotation.next() for _ in range(6)} == {0, 1, 2}
    assert {rotation.next(avoid=0) for _ in range(6)} == {1, 2}
    assert Rotation(1, clock).next(avoid=0) == 0


@pytest.mark.parametrize(
    ("metadata", "name", "detach", "names"),
    [
        ((), "Factorial", False, b"operations/made"),
        ((), "Factorial", True, None),
        ((("forebay-on-disconnect", "detach"),), "Factorial", False, None),
        ((("forebay-on-disconnect", "cancel"),), "Factorial", True, b"operations/made"),
        ((), "Add", False, None),
        ((("forebay-call-id", "mine"),), "Add", False, b"operations/mine"),
    ],
)
def test_a_cancelled_call_is_cancelled_on_the_gateway_unless_it_detaches(
    metadata: tuple[tuple[str, str], ...], name: str, detach: bool, names: bytes | None
) -> None:
    request = cancel_request(Call(method(name, detach=detach), metadata=metadata).policy)
    assert request is None if names is None else request is not None and names in request


def test_a_call_is_cancelled_on_its_attempts_target_and_between_attempts_on_another() -> None:
    policy = (call := Call(targets=2)).policy
    assert policy.cancel_target() is None
    target = policy.attempt().target
    assert policy.cancel_target() == target
    assert call.wait_s(lost(), accepted=True) is not None
    assert policy.cancel_target() == 1 - target
    assert policy.attempt().target == 1 - target
    assert policy.cancel_target() == 1 - target


class Gateway:
    """The items of a call on any gateway; transient items are sent once."""

    def __init__(self, items: int) -> None:
        self.items = [pb.FactorialResponse(digits=str(ordinal)) for ordinal in range(items)]

    def stream(self, metadata: dict[str, Any], transient: int) -> list[pb.FactorialResponse]:
        """The responses of an attempt, with transient items in between."""
        sent: list[pb.FactorialResponse] = []
        for item in self.items[int(metadata.get("forebay-resume-from", 0)) :]:
            sent += [PROGRESS] * transient + [item]
        return sent


@given(
    items=st.integers(0, 12),
    cuts=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.booleans()), max_size=12),
    targets=st.integers(1, 3),
)
def test_the_caller_gets_each_item_once_and_in_order_after_any_failure(
    items: int, cuts: list[tuple[int, int, bool]], targets: int
) -> None:
    gateway, call = Gateway(items), Call(targets=targets, timeout_s=10_000.0)
    got: list[str] = []
    for length, transient, draining in [*cuts, (1000, 1, False)]:
        sent = gateway.stream(call.begin(), transient)
        for response in sent[:length]:
            call.policy.on_response(response)
            got += [response.digits] if response.digits else []
        if length < 1000:
            error = Draining("leaving", retry_after_s=1.0) if draining else lost()
            assert call.wait_s(error, accepted=length > 0) is not None
    assert got == [item.digits for item in gateway.items]


@pytest.mark.parametrize(
    ("error", "next_calls"),
    [(Draining("", retry_after_s=0.1), [1, 1]), (QueueFull("", retry_after_s=0.1), [1, 0])],
    ids=["down", "full"],
)
def test_other_calls_avoid_only_a_gateway_that_is_down(
    error: ForebayError, next_calls: list[int]
) -> None:
    clock = FakeClock()
    rotation = Rotation(2, clock)
    deadline, options = (
        Deadline.after(None, clock),
        {"random": lambda: 1.0, "new_id": lambda: "made"},
    )
    policy = ResumePolicy(METHODS["Factorial"], (), deadline, rotation, **options)
    assert policy.attempt().target == 0
    assert policy.on_failure(error) is not None
    assert [rotation.next() for _ in range(2)] == next_calls


EXPIRED = Unauthenticated("the token has expired")


def test_a_call_whose_token_expired_is_resumed_with_the_next() -> None:
    call = Call(renews_token=True)
    call.begin()
    call.policy.on_response(ITEM)
    assert call.wait_s(EXPIRED, accepted=True) is not None
    assert call.begin() == {"forebay-call-id": "made", "forebay-resume-from": "1"}


@pytest.mark.parametrize(
    ("call", "accepted"),
    [
        (Call(renews_token=True), False),  # a new token would be refused, too
        (Call(), True),  # there is no other token
        (Call(METHODS["Add"], renews_token=True), True),  # an ephemeral call has no id
        (Call(None, renews_token=True), True),
    ],
)
def test_a_call_whose_token_is_refused_fails(call: Call, accepted: bool) -> None:
    call.begin()
    assert call.wait_s(EXPIRED, accepted=accepted) is None


def test_a_handlers_own_unauthenticated_is_final() -> None:
    call = Call(renews_token=True)
    call.begin()
    error = HandlerAborted("no such user")
    error.code = code_pb2.UNAUTHENTICATED
    assert call.wait_s(error, accepted=True) is None
