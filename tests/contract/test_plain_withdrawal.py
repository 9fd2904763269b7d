"""A task does not run if its call failed or its caller disconnected while no worker was alive."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from tests.contract.plain_site import PlainSite, error_of, plain_worker, wish
from tests.contract.systems import messages_in
from tests.harness import eventually
from tests.plain.v1 import plain_pb2 as pb

TIMEOUT_S = 30.0
QUEUE = "plain-late"


def mark(folder: Path, name: str) -> pb.DoRequest:
    """A request whose task creates a file of that name."""
    path = str(folder / name)
    return wish("touch_then_sleep", {"begun": path, "ended": path, "seconds": 0})


def queue_depth(plain: PlainSite) -> int:
    """The number of messages in the queue that no worker consumes."""
    return messages_in(plain.env["PLAIN_BROKER_URL"], QUEUE)


def run_what_is_queued(plain: PlainSite) -> None:
    """Starts a worker, which also declares the queue, and waits until the queue is empty."""
    with plain_worker(plain.env, "-Q", QUEUE, "--concurrency", "1", "--hostname", "late@%h"):
        answer = plain.stub.DoLate(wish("answer", 7), timeout=TIMEOUT_S)
        assert MessageToDict(answer)["value"] == 7


@pytest.mark.parametrize(
    "timeout_s",
    [0.7, *(pytest.param(one, marks=pytest.mark.variant) for one in (None, TIMEOUT_S))],
)
def test_a_task_does_not_run_after_its_call_failed(
    plain: PlainSite, tmp_path: Path, timeout_s: float | None
) -> None:
    run_what_is_queued(plain)
    error = error_of(lambda: plain.stub.DoLate(mark(tmp_path, "ran"), timeout=timeout_s))
    if timeout_s == 0.7:
        assert error.code_name == "DEADLINE_EXCEEDED"
    else:
        assert (error.code_name, error.reason) == ("UNAVAILABLE", "QUEUE_WAIT")
        assert queue_depth(plain) == 0
    run_what_is_queued(plain)
    assert list(tmp_path.iterdir()) == []


def test_a_task_does_not_run_after_a_disconnect(plain: PlainSite, tmp_path: Path) -> None:
    run_what_is_queued(plain)
    call = plain.stub.DoLate.future(mark(tmp_path, "ran"), timeout=None)
    call.initial_metadata()  # comes when the task is in the queue
    call.cancel()
    eventually(lambda: queue_depth(plain) == 0, "the message has left the queue")
    run_what_is_queued(plain)
    assert list(tmp_path.iterdir()) == []
