"""`forebay.v1.CallService`, and the addresses on which the admin services are open."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import pytest
from google.api_core.operations_v1 import OperationsClient
from google.longrunning import operations_pb2
from google.longrunning.operations_pb2 import (
    ListOperationsRequest,
    WaitOperationRequest,
)

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from tests.commands import run
from tests.e2e.known_calls import LONG, TIMEOUT_S, add, named, new_id, refusal, running
from tests.harness import environment, eventually, forebay_gateway, short_folder


@pytest.fixture
def client(channel: grpc.Channel) -> OperationsClient:
    """Google's client, connected to `up`."""
    return OperationsClient(channel)


@pytest.fixture
def calls(channel: grpc.Channel) -> CallServiceStub:
    """The call service, on `up`."""
    return CallServiceStub(channel)


def test_items_are_read_without_attaching(stub: ComputeServiceStub, calls: CallServiceStub) -> None:
    call_id = new_id()
    stream = stub.Factorial(pb.FactorialRequest(n=30), timeout=TIMEOUT_S, metadata=named(call_id))
    ordinary = [item for item in stream if not item.HasField("progress")]
    for first in range(len(ordinary) + 1):
        request = calls_pb2.ReadItemsRequest(name=f"operations/{call_id}", first=first)
        read = list(calls.ReadItems(request, timeout=TIMEOUT_S))
        assert [response.ordinal for response in read] == list(range(first, len(ordinary)))
        for response, item in zip(read, ordinary[first:], strict=True):
            came = pb.FactorialResponse()
            assert response.item.Unpack(came)
            assert came == item
    beyond = calls_pb2.ReadItemsRequest(name=f"operations/{call_id}", first=len(ordinary) + 1)
    assert refusal(lambda: list(calls.ReadItems(beyond, timeout=TIMEOUT_S)))[:2] == (
        "DATA_LOSS",
        "ITEMS_LOST",
    )
    unknown = calls_pb2.ReadItemsRequest(name=f"operations/{new_id()}")
    assert refusal(lambda: list(calls.ReadItems(unknown, timeout=TIMEOUT_S)))[:2] == (
        "NOT_FOUND",
        "CALL_UNKNOWN",
    )


def test_items_are_followed_to_the_end(
    stub: ComputeServiceStub, calls: CallServiceStub, client: OperationsClient
) -> None:
    with running(stub, client) as call_id:
        request = calls_pb2.ReadItemsRequest(name=f"operations/{call_id}", follow=True)
        stream = calls.ReadItems(request, timeout=TIMEOUT_S)
        client.cancel_operation(f"operations/{call_id}")
        ordinals = [response.ordinal for response in stream]
    assert ordinals == list(range(len(ordinals)))


def test_queues_show_their_consumers(calls: CallServiceStub) -> None:
    answer = calls.ListQueues(calls_pb2.ListQueuesRequest(), timeout=TIMEOUT_S)
    assert [queue.name for queue in answer.queues] == ["add", "factorial", "mat_mul"]
    for queue in answer.queues:
        assert (queue.consumers, queue.slots >= 1) == (1, True)
    assert list(answer.queues[0].methods) == ["forebay.compute.v1.ComputeService.Add"]


def test_workers_show_what_they_run(
    stub: ComputeServiceStub, calls: CallServiceStub, client: OperationsClient
) -> None:
    def workers() -> dict[str, calls_pb2.Worker]:
        answer = calls.ListWorkers(calls_pb2.ListWorkersRequest(), timeout=TIMEOUT_S)
        for worker in answer.workers:
            assert 0 <= answer.read_time.seconds - worker.seen_time.seconds <= 15
        return {worker.queues[0]: worker for worker in answer.workers}

    assert {name: worker.slots for name, worker in workers().items()} == {
        "add": 1,
        "factorial": 1,
        "mat_mul": 1,
    }
    with running(stub, client) as call_id:

        def calls_that_run() -> list[str]:
            return [name for one in workers()["factorial"].running for name in one.calls]

        # Until its next report, the worker may list the call of an earlier test.
        eventually(lambda: calls_that_run() == [f"operations/{call_id}"], "the worker reports")
        worker = workers()["factorial"]
        [task] = worker.running
        assert task.task == "factorial_module.tasks.factorial"
        assert task.method == "forebay.compute.v1.ComputeService.Factorial"
        assert worker.busy_slots == 1
        began_ms = task.begin_time.ToMilliseconds()
        assert 0 <= worker.seen_time.ToMilliseconds() - began_ms < TIMEOUT_S * 1000
        assert (worker.pool, worker.name.startswith("forebay-factorial-")) == ("prefork", True)
        queues = calls.ListQueues(calls_pb2.ListQueuesRequest(), timeout=TIMEOUT_S).queues
        assert {queue.name: queue.busy_slots for queue in queues}["factorial"] == 1


def test_activity_shows_calls_by_method_and_queues(
    stub: ComputeServiceStub, calls: CallServiceStub
) -> None:
    def read() -> calls_pb2.ActivityInterval:
        request = calls_pb2.ReadActivityRequest()
        request.window.seconds = 3600
        [interval] = calls.ReadActivity(request, timeout=TIMEOUT_S).intervals
        return interval

    def failed() -> dict[str, int]:
        return {one.method: one.failed for one in read().methods}

    name = "forebay.compute.v1.ComputeService.Add"
    add(stub, new_id())
    eventually(lambda: name in failed(), "the next sample")
    found = {one.method: one for one in read().methods}
    assert not any(method.startswith("forebay.v1.") for method in found)
    assert 0 < found[name].p50.ToMicroseconds() <= found[name].p99.ToMicroseconds()
    assert read().total.ended == sum(one.ended for one in read().methods)
    assert [queue.queue for queue in read().queues] == ["add", "factorial", "mat_mul"]
    before = failed()
    unserved = calls_pb2.ReadItemsRequest(name="operations/none")
    refusal(lambda: list(calls.ReadItems(unserved, timeout=TIMEOUT_S)))  # not counted
    slow = "forebay.compute.v1.ComputeService.Factorial"

    def is_counted() -> bool:
        """The gateway takes it for a caller that left if the request took over 50 ms to arrive."""
        refusal(lambda: list(stub.Factorial(pb.FactorialRequest(n=LONG), timeout=0.2)))
        return failed().get(slow, 0) > before.get(slow, 0)

    eventually(is_counted, "the failure is counted")


def test_activity_is_divided_into_steps(calls: CallServiceStub) -> None:
    def steps() -> list[calls_pb2.ActivityInterval]:
        request = calls_pb2.ReadActivityRequest()
        request.window.seconds, request.step.seconds = 20, 7  # which is rounded up to 10
        return list(calls.ReadActivity(request, timeout=TIMEOUT_S).intervals)

    eventually(lambda: len(steps()) > 0, "the first sample")
    for step in steps():
        assert step.end_time.seconds - step.start_time.seconds == 10
    assert len(steps()) <= 2


@pytest.mark.parametrize("field", ["window", "step"])
@pytest.mark.parametrize("seconds", [-1, 3601])
def test_activity_is_bounded(calls: CallServiceStub, field: str, seconds: int) -> None:
    request = calls_pb2.ReadActivityRequest()
    getattr(request, field).seconds = seconds
    code, _, message = refusal(lambda: calls.ReadActivity(request, timeout=TIMEOUT_S))
    assert (code, message) == (
        "INVALID_ARGUMENT",
        f"{field} is {seconds} s; expected 0 to 3600 s",
    )


def test_queues_show_waiting_calls() -> None:
    with short_folder() as folder:
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"))
        with (
            forebay_gateway(env=env) as (_, address),
            grpc.insecure_channel(address) as channel,
        ):
            waiting = ComputeServiceStub(channel).Factorial(
                pb.FactorialRequest(n=3), timeout=TIMEOUT_S, metadata=named("waits")
            )
            waiting.initial_metadata()

            def queues() -> Sequence[calls_pb2.Queue]:
                list_queues = CallServiceStub(channel).ListQueues
                return list_queues(calls_pb2.ListQueuesRequest(), timeout=TIMEOUT_S).queues

            queue = queues()[1]
            assert (queue.name, queue.consumers) == ("factorial", 0)
            assert (queue.depth, queue.waiting_calls) == (1, 1)
            eventually(lambda: queues()[1].oldest_wait.ToMilliseconds() > 0, "it waits for a while")
            assert not queues()[0].HasField("oldest_wait")
            waiting.cancel()


def test_waiting_ends_when_the_gateway_shuts_down() -> None:
    with short_folder() as folder:
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"), FOREBAY_DRAIN_S="0")
        with (
            forebay_gateway(env=env) as (gateway, address),
            grpc.insecure_channel(address) as channel,
        ):
            call = ComputeServiceStub(channel).Factorial(
                pb.FactorialRequest(n=3), timeout=TIMEOUT_S, metadata=named("waits")
            )
            call.initial_metadata()
            waiting = OperationsClient(channel).operations_stub.WaitOperation.future(
                WaitOperationRequest(name="operations/waits"), timeout=TIMEOUT_S
            )
            following = CallServiceStub(channel).ReadItems(
                calls_pb2.ReadItemsRequest(name="operations/waits", follow=True), timeout=TIMEOUT_S
            )
            get = operations_pb2.GetOperationRequest(name="operations/waits")
            OperationsClient(channel).operations_stub.GetOperation(get, timeout=TIMEOUT_S)
            gateway.popen.terminate()
            assert not waiting.result(TIMEOUT_S).done
            assert refusal(lambda: list(following))[:2] == ("UNAVAILABLE", "DRAINING")
            call.cancel()
            assert gateway.ended() == 0


def test_calls_can_be_seen_and_ended_on_loopback_only() -> None:
    with short_folder() as folder:
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"))
        with forebay_gateway("--listen", "0.0.0.0:0", "--insecure", env=env) as (_, address):
            port = address.rpartition(":")[2]
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                operations = OperationsClient(channel).operations_stub
                code, reason, message = refusal(
                    lambda: operations.ListOperations(ListOperationsRequest(), timeout=TIMEOUT_S)
                )
                assert (code, reason) == ("UNIMPLEMENTED", "METHOD_UNKNOWN")
                assert "open only where the gateway knows its callers" in message
                queues = CallServiceStub(channel).ListQueues
                assert refusal(lambda: queues(calls_pb2.ListQueuesRequest(), timeout=TIMEOUT_S))[
                    :2
                ] == (code, reason)
            listed = run("grpcurl", "-plaintext", f"127.0.0.1:{port}", "list", env=env).succeeded()
            assert "Operations" not in listed.out
            assert "CallService" not in listed.out


def test_queues_show_the_rate_at_which_tasks_begin(
    stub: ComputeServiceStub, calls: CallServiceStub
) -> None:
    def rate() -> float:
        stub.Add(pb.AddRequest(x=1, y=2), timeout=TIMEOUT_S)
        answer = calls.ListQueues(calls_pb2.ListQueuesRequest(), timeout=TIMEOUT_S)
        return answer.queues[0].begun_per_second

    eventually(lambda: rate() > 0, "tasks are counted")
