"""Batches of ephemeral calls: what the gateway is told of each, by the worker's own clock."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import BackendUnavailable
from forebay.v1 import call_pb2
from forebay_backends.ledger.frames import Reply, parse_frame
from forebay_backends.settings import load_settings
from forebay_workers.execution import replying
from forebay_workers.execution.ephemeral import run_batch
from forebay_workers.handler import ledger_retry
from forebay_workers.handler.absent_gateways import PATIENCE_S, AbsentGateways
from tests.unit.samples import METHODS

ADD = METHODS["Add"]
NOW_MS = 1_000_000
LONG_MS = 60_000


class Worker:
    """The resources of a worker's process, without a ledger: keeps what would be published."""

    def __init__(self) -> None:
        self.worker = "worker-1"
        self.settings = load_settings({})
        self.checks: dict[str, Any] = {}
        self.ledger = SimpleNamespace(publish=self._publish, known_ms=lambda: NOW_MS)
        self.absent_gateways = AbsentGateways()
        self.failures: list[BackendUnavailable | int] = []
        """For the next publishes: each raises the error, or reaches so many subscribers."""
        self.control = SimpleNamespace(
            reserved=nullcontext,
            running=lambda *_, **__: nullcontext(),
            was_stopped=lambda *_: False,
        )
        self.ran = lambda method, seconds: None
        self.task_trace = lambda _: None
        self.replies: dict[str, call_pb2.BatchMemberReply] = {}

    def run(self, handler: Any, *members: call_pb2.BatchMember) -> None:
        """Runs a batch of these calls of Add."""
        runtime: Any = self
        batch = call_pb2.Batch(members=members, reply_channel="gateway", method=ADD.name)
        run_batch(runtime, ADD, handler, batch)

    def measured(self, method: str) -> AbstractContextManager[None]:
        assert method == ADD.name
        return nullcontext()

    def _publish(self, _: str, frame: bytes) -> int:
        failure = self.failures.pop(0) if self.failures else 1
        if isinstance(failure, BackendUnavailable):
            raise failure
        if not failure:
            return 0
        _, reply = parse_frame(frame)
        assert isinstance(reply, Reply)
        for member in call_pb2.BatchReply.FromString(reply.payload).members:
            self.replies[member.call_id] = member
        return 1


def member(call_id: str, deadline_ms: int = LONG_MS) -> call_pb2.BatchMember:
    """A call that may run until so long after now."""
    return call_pb2.BatchMember(
        call_id=call_id,
        request=pb.AddRequest(x=4, y=6).SerializeToString(),
        deadline_ms=NOW_MS + deadline_ms,
        begin_by_ms=NOW_MS + deadline_ms,
    )


def add_as_late_as_can_be(request: pb.AddRequest, context: grpc.ServicerContext) -> pb.AddResponse:
    """Answers when a deadline of less than a second has passed; at once where it is longer."""
    while 0 < context.time_remaining() < 1.0:
        time.sleep(0.001)
    return pb.AddResponse(sum=request.x + request.y)


def test_a_response_after_the_deadline_is_not_sent() -> None:
    worker = Worker()
    worker.run(add_as_late_as_can_be, member("late", 20), member("in-time"))
    late, in_time = worker.replies["late"], worker.replies["in-time"]
    assert late.outcome.code == code_pb2.DEADLINE_EXCEEDED
    assert not late.response
    assert in_time.outcome.code == code_pb2.OK
    assert pb.AddResponse.FromString(in_time.response).sum == 10


def test_a_call_whose_deadline_passed_in_the_queue_does_not_begin() -> None:
    worker, begun = Worker(), []

    def handler(request: pb.AddRequest, context: grpc.ServicerContext) -> pb.AddResponse:
        begun.append(request)
        return pb.AddResponse()

    worker.run(handler, member("late", 0), member("in-time"))
    assert len(begun) == 1
    assert worker.replies["late"].outcome.code == code_pb2.DEADLINE_EXCEEDED


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long retries have waited, without waiting."""
    pauses: list[float] = []
    now = time.monotonic()
    clock = SimpleNamespace(sleep=pauses.append, monotonic=lambda: now + sum(pauses))
    monkeypatch.setattr(ledger_retry, "time", clock)
    monkeypatch.setattr(replying, "time", clock)
    return pauses


def test_a_reply_waits_for_the_ledger_and_for_its_gateway(waited: list[float]) -> None:
    worker = Worker()
    worker.failures = [BackendUnavailable("away"), BackendUnavailable("away"), 0, 0]
    worker.run(add_as_late_as_can_be, member("call"))
    assert worker.replies["call"].outcome.code == code_pb2.OK
    assert len(waited) == 4


def test_only_the_first_reply_waits_for_a_gateway_that_has_ended(waited: list[float]) -> None:
    worker = Worker()
    worker.failures = [0] * 100
    worker.run(add_as_late_as_can_be, member("call"))
    assert sum(waited) == PATIENCE_S
    left = len(worker.failures)
    worker.run(add_as_late_as_can_be, member("other"))
    assert len(worker.failures) == left - 1
    assert worker.replies == {}
