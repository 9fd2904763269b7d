"""Calls as `google.longrunning` operations, through Google's own client, grpcurl and raw stubs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.api_core.operations_v1 import OperationsClient
from google.longrunning import operations_pb2
from google.longrunning.operations_pb2 import (
    ListOperationsRequest,
    Operation,
    WaitOperationRequest,
)
from google.protobuf.duration_pb2 import Duration

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.rpc_errors import of_rpc_error
from forebay.v1 import call_pb2
from tests.commands import run
from tests.conftest import Up
from tests.e2e.known_calls import (
    LONG,
    TIMEOUT_S,
    add,
    metadata_of,
    named,
    new_id,
    refusal,
    running,
    state_of,
)
from tests.harness import eventually

COMPUTE = "forebay.compute.v1.ComputeService"


@pytest.fixture
def client(channel: grpc.Channel) -> OperationsClient:
    """Google's client, connected to `up`."""
    return OperationsClient(channel)


def test_a_unary_call_is_an_operation_with_its_response(
    stub: ComputeServiceStub, client: OperationsClient
) -> None:
    call_id = new_id()
    add(stub, call_id, 4, 6)
    operation = client.get_operation(f"operations/{call_id}")
    response = pb.AddResponse()
    assert operation.done
    assert operation.response.Unpack(response)
    assert response.sum == 10
    shown = metadata_of(operation)
    assert (shown.method, shown.queue) == (f"{COMPUTE}.Add", "add")
    assert (shown.state, shown.item_count, shown.attempt) == (call_pb2.CALL_STATE_SUCCEEDED, 1, 1)
    times = [
        shown.create_time,
        shown.queue_time,
        shown.begin_time,
        shown.finish_time,
        shown.read_time,
    ]
    assert times == sorted(times, key=lambda time: time.ToNanoseconds())


def test_a_streaming_call_is_an_operation_with_its_last_item(
    stub: ComputeServiceStub, client: OperationsClient
) -> None:
    call_id = new_id()
    items = list(
        stub.MatMul(
            iter([pb.MatMulRequest(random=pb.RandomOperands(m=2, n=2, seed=1))]),
            timeout=TIMEOUT_S,
            metadata=named(call_id),
        )
    )
    operation = client.get_operation(f"operations/{call_id}")
    response = pb.MatMulResponse()
    assert operation.response.Unpack(response)
    assert response == items[-1]
    assert response.HasField("panel")


def test_a_running_call_reports_progress_and_can_be_cancelled(
    stub: ComputeServiceStub, client: OperationsClient
) -> None:
    with running(stub, client) as call_id:
        name = f"operations/{call_id}"

        def progress() -> bool:
            return metadata_of(client.get_operation(name)).HasField("progress")

        eventually(progress, "progress is told")
        operation = client.get_operation(name)
        shown = pb.FactorialResponse()
        assert not operation.done
        assert operation.WhichOneof("result") is None
        assert metadata_of(operation).progress.Unpack(shown)
        assert shown.HasField("progress")
        assert metadata_of(operation).worker
        client.cancel_operation(name)
        ended = client.get_operation(name)
        assert (ended.done, ended.error.code) == (True, grpc.StatusCode.CANCELLED.value[0])
        client.cancel_operation(name)  # of no effect
        assert client.get_operation(name).error == ended.error


def test_a_failed_call_has_the_status_that_its_caller_got(
    channel: grpc.Channel, client: OperationsClient, stub: ComputeServiceStub
) -> None:
    call_id = new_id()
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.Factorial(pb.FactorialRequest(n=LONG), timeout=0.5, metadata=named(call_id)))
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: state_of(call_id, client) == "EXPIRED", "the call expires")
    operation = client.get_operation(f"operations/{call_id}")
    assert operation.error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
    assert metadata_of(operation).HasField("deadline")


def test_calls_are_listed_newest_first_in_pages(
    stub: ComputeServiceStub, client: OperationsClient
) -> None:
    ids = [new_id() for _ in range(7)]
    for call_id in ids:
        add(stub, call_id)
    names = [f"operations/{call_id}" for call_id in reversed(ids)]
    listed = [operation.name for operation in client.list_operations("operations", "")]
    assert [name for name in listed if name in names] == names
    assert len(set(listed)) == len(listed)

    request = ListOperationsRequest(page_size=3, filter=f'method = "{COMPUTE}.Add"')
    first = client.operations_stub.ListOperations(request)
    assert [operation.name for operation in first.operations] == names[:3]
    add(stub, new_id())  # moves nothing
    request.page_token = first.next_page_token
    second = client.operations_stub.ListOperations(request)
    assert [operation.name for operation in second.operations] == names[3:6]


def test_a_listing_follows_its_filter(stub: ComputeServiceStub, client: OperationsClient) -> None:
    def found(wanted: str) -> set[str]:
        return {operation.name for operation in client.list_operations("", wanted)}

    with running(stub, client) as call_id:
        done = new_id()
        add(stub, done)
        assert f"operations/{call_id}" in found("state = RUNNING AND method = *.Factorial")
        assert f"operations/{call_id}" not in found('method != "*.Factorial" OR done = true')
        assert f"operations/{done}" in found("done = true AND queue = add")
        assert f"operations/{done}" not in found("done = false")
        created = metadata_of(client.get_operation(f"operations/{done}")).create_time
        at = created.ToJsonString()
        assert f"operations/{done}" in found(f'create_time = "{at}"')
        assert f"operations/{done}" not in found(f'create_time > "{at}"')
        assert f"operations/{done}" in found(f'create_time >= "{at}"')
        assert found('create_time < "2000-01-01T00:00:00Z"') == set()


def test_a_filter_without_a_match_gives_an_empty_list(client: OperationsClient) -> None:
    assert list(client.list_operations("", "method = no.such.Method")) == []


def test_waiting_ends_with_the_call(stub: ComputeServiceStub, client: OperationsClient) -> None:
    with running(stub, client) as call_id:
        name = f"operations/{call_id}"
        answers: list[Operation] = []
        waiting = threading.Thread(
            target=lambda: answers.append(
                client.operations_stub.WaitOperation(
                    WaitOperationRequest(name=name), timeout=TIMEOUT_S
                )
            )
        )
        waiting.start()
        short = Duration(nanos=200_000_000)
        began = time.monotonic()
        still = client.operations_stub.WaitOperation(
            WaitOperationRequest(name=name, timeout=short), timeout=TIMEOUT_S
        )
        assert not still.done
        assert time.monotonic() - began >= 0.2
        assert not answers
        client.cancel_operation(name)
        cancelled = time.monotonic()
        waiting.join(TIMEOUT_S)
        assert answers[0].done
        # It was notified: the ledger is polled every 5 s only.
        assert time.monotonic() - cancelled < 4


def test_waiting_answers_before_the_callers_deadline(
    stub: ComputeServiceStub, client: OperationsClient
) -> None:
    with running(stub, client) as call_id:
        request = WaitOperationRequest(name=f"operations/{call_id}")
        assert not client.operations_stub.WaitOperation(request, timeout=4.0).done


def test_waiting_for_a_finished_call_returns_at_once(
    stub: ComputeServiceStub, client: OperationsClient
) -> None:
    call_id = new_id()
    add(stub, call_id)
    request = WaitOperationRequest(name=f"operations/{call_id}", timeout=Duration(seconds=3000))
    assert client.operations_stub.WaitOperation(request, timeout=TIMEOUT_S).done


def test_only_a_finished_call_is_deleted(
    stub: ComputeServiceStub, client: OperationsClient
) -> None:
    with running(stub, client) as call_id:
        with pytest.raises(exceptions.FailedPrecondition, match="is RUNNING") as refused:
            client.delete_operation(f"operations/{call_id}")
        assert refused.value.reason == "CALL_NOT_FINISHED"
    call_id = new_id()
    add(stub, call_id)
    client.delete_operation(f"operations/{call_id}")
    for act in (client.get_operation, client.cancel_operation, client.delete_operation):
        with pytest.raises(exceptions.NotFound) as unknown:
            act(f"operations/{call_id}")
        assert unknown.value.reason == "CALL_UNKNOWN"
    add(stub, call_id, 7, 7)  # the id is free for another request


@pytest.mark.parametrize(
    ("request_of", "field"),
    [
        (lambda ops: ops.GetOperation(operations_pb2.GetOperationRequest(name="x")), "name"),
        (lambda ops: ops.WaitOperation(WaitOperationRequest(name="operations/")), "name"),
        (
            lambda ops: ops.WaitOperation(
                WaitOperationRequest(name="operations/x", timeout=Duration(seconds=-1))
            ),
            "timeout",
        ),
        (lambda ops: ops.ListOperations(ListOperationsRequest(name="other")), "name"),
        (lambda ops: ops.ListOperations(ListOperationsRequest(filter="state ~ 3")), "filter"),
        (lambda ops: ops.ListOperations(ListOperationsRequest(page_token="x")), "page_token"),  # noqa: S106
        (lambda ops: ops.ListOperations(ListOperationsRequest(page_size=-1)), "page_size"),
        (
            lambda ops: ops.ListOperations(ListOperationsRequest(return_partial_success=True)),
            "return_partial_success",
        ),
    ],
)
def test_a_bad_request_names_its_field(
    client: OperationsClient, request_of: Callable[[Any], Any], field: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        request_of(client.operations_stub)
    error = of_rpc_error(raised.value)
    assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert [violation.field for violation in error.violations] == [field]


def test_bytes_that_are_no_request_are_refused(channel: grpc.Channel) -> None:
    for method in ("GetOperation", "ListOperations", "WaitOperation"):
        call = channel.unary_unary(f"/google.longrunning.Operations/{method}")
        assert refusal(lambda call=call: call(b"\xff\xff", timeout=TIMEOUT_S))[:2] == (
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
        )


def test_grpcurl_reads_operations_and_their_contents(up: Up, stub: ComputeServiceStub) -> None:
    call_id = new_id()
    add(stub, call_id, 4, 6)

    def ask(method: str, request: dict[str, object]) -> dict[str, Any]:
        answer: dict[str, Any] = (
            run(
                *["grpcurl", "-plaintext", "-d", json.dumps(request), up.address, method],
                env=up.env,
            )
            .succeeded()
            .messages[0]
        )
        return answer

    operation = ask("google.longrunning.Operations/GetOperation", {"name": f"operations/{call_id}"})
    assert operation["response"] == {
        "@type": "type.googleapis.com/forebay.compute.v1.AddResponse",
        "sum": 10,
    }
    assert operation["metadata"]["state"] == "CALL_STATE_SUCCEEDED"
    page = ask("google.longrunning.Operations/ListOperations", {"filter": "queue = add"})
    assert page["operations"][0]["name"] == f"operations/{call_id}"
    [item] = (
        run(
            *["grpcurl", "-plaintext", "-d", json.dumps({"name": f"operations/{call_id}"})],
            *[up.address, "forebay.v1.CallService/ReadItems"],
            env=up.env,
        )
        .succeeded()
        .messages
    )
    assert item["item"]["sum"] == 10
