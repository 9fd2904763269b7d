"""Workers that die in the middle of a live call."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from forebay.rpc_errors import of_rpc_error
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.fleet import FleetMonitor
from tests.faults.losing import TIMEOUT_S, kill_worker, pool_children
from tests.harness import eventually

METADATA = (("forebay-call-id", "live"),)


class Talk(Iterator[Any]):
    """A request stream that a test feeds one by one."""

    def __init__(self, method: Any) -> None:
        self._said: SimpleQueue[EchoRequest | None] = SimpleQueue()
        said = iter(self._said.get, None)
        self.call = method(said, timeout=TIMEOUT_S, metadata=METADATA)

    def say(self, text: str) -> None:
        """Sends another request."""
        self._said.put(EchoRequest(text=text))

    def end(self) -> None:
        """Ends the stream."""
        self._said.put(None)

    def __next__(self) -> str:
        return str(next(self.call).text)


def test_a_live_call_that_may_is_run_again_with_all_of_its_requests(fleet: FleetMonitor) -> None:
    worker, talk = fleet.worker(), Talk(fleet.stub.TalkAgain)
    for number in range(5):
        talk.say(str(number))
        assert next(talk) == str(number)
    pool_children(worker)[0].kill()
    talk.say("5")  # while nobody has the call
    assert next(talk) == "5"
    assert fleet.is_running("live", attempt=2)
    talk.say("6")
    talk.end()
    assert list(talk) == ["6"]
    assert talk.call.code() is grpc.StatusCode.OK


@pytest.mark.variant
def test_a_live_call_continues_at_another_worker(fleet: FleetMonitor) -> None:
    first, talk = fleet.worker(), Talk(fleet.stub.TalkAgain)
    talk.say("0")
    assert next(talk) == "0"
    fleet.worker("threads")
    kill_worker(first)
    eventually(lambda: fleet.is_running("live", attempt=2), "it runs again")
    talk.say("1")
    talk.end()
    assert list(talk) == ["1"]


def test_a_live_call_with_effects_ends_with_its_worker(fleet: FleetMonitor) -> None:
    worker, talk = fleet.worker(), Talk(fleet.stub.Talk)
    talk.say("0")
    assert next(talk) == "0"
    pool_children(worker)[0].kill()
    with pytest.raises(grpc.RpcError) as caught:
        next(talk)
    error = of_rpc_error(caught.value)
    assert (error.code_name, error.reason) == ("ABORTED", "WORKER_LOST")
    talk.end()
    assert "live_requests" not in fleet.record("live")
