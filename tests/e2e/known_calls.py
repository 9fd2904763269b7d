"""Calls with known ids, for tests that inspect them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc
import pytest
import redis
from google.api_core import exceptions
from google.api_core.operations_v1 import OperationsClient
from google.longrunning.operations_pb2 import Operation
from google.rpc import error_details_pb2

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.rpc_errors import of_rpc_error
from forebay.v1 import call_pb2, calls_pb2
from tests.harness import eventually

TIMEOUT_S = 30.0
LONG = 9_000_000
"""A factorial that takes long."""


def new_id() -> str:
    return f"op-{uuid.uuid4()}"


@contextmanager
def accepting_nothing(server: redis.Redis) -> Iterator[None]:
    """Fails if the block leaves a new record in the ledger."""

    def found(pattern: str) -> set[bytes]:
        return set(cast("list[bytes]", server.keys(pattern)))

    records = found("*:call:*")
    yield
    assert found("*:call:*") <= records


def named(call_id: str) -> tuple[tuple[str, str], ...]:
    return (("forebay-call-id", call_id),)


def add(stub: ComputeServiceStub, call_id: str, x: float = 1, y: float = 2) -> None:
    stub.Add(pb.AddRequest(x=x, y=y), timeout=TIMEOUT_S, metadata=named(call_id))


@contextmanager
def running(stub: ComputeServiceStub, client: OperationsClient) -> Iterator[str]:
    """A call that runs for long; yields its id."""
    call_id = new_id()
    call = stub.Factorial(
        pb.FactorialRequest(n=LONG), timeout=10 * TIMEOUT_S, metadata=named(call_id)
    )
    try:
        eventually(lambda: state_of(call_id, client) == "RUNNING", f"{call_id} runs")
        yield call_id
    finally:
        call.cancel()
        client.cancel_operation(f"operations/{call_id}")


def metadata_of(operation: Operation) -> calls_pb2.CallMetadata:
    found = calls_pb2.CallMetadata()
    assert operation.metadata.Unpack(found)
    return found


def state_of(call_id: str, client: OperationsClient) -> str:
    try:
        operation = client.get_operation(f"operations/{call_id}")
    except exceptions.NotFound:
        return ""
    return call_pb2.CallState.Name(metadata_of(operation).state).removeprefix("CALL_STATE_")


def refusal(call: Callable[[], Any]) -> tuple[str, str, str]:
    """Status, reason and message of the error that a stub's call raises."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    error = of_rpc_error(raised.value)
    return error.code_name, error.reason, error.message


def infos_of(error: exceptions.GoogleAPICallError) -> list[error_details_pb2.ErrorInfo]:
    """The details of a failed operation that say why it failed."""
    (status,) = error.errors
    infos = [error_details_pb2.ErrorInfo() for _ in status.details]
    return [info for info, detail in zip(infos, status.details, strict=True) if detail.Unpack(info)]
