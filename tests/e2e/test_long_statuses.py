"""Statuses and metadata over the 8 KiB that gRPC clients accept: the code always arrives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from grpc_status import rpc_status

from forebay.errors import ForebayError
from forebay.metadata import CALL_ID, OMITTED
from forebay.rpc_errors import of_rpc_error
from tests.echo.running import ROOT
from tests.echo.v1.echo_pb2 import EchoRequest, EchoStatus
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import environment, forebay_gateway, process, short_folder

TIMEOUT_S = 30.0
SIZES = [1 << 10, 4 << 10, 8 << 10, 64 << 10, 1 << 20]
ALPHABETS = {"ascii": "m", "not ascii": "☃"}


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with short_folder() as folder:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"), FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]'
        )
        echo = ["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"]
        options = ["--pool", "threads", "--concurrency", "2", "--without-mingle"]
        with (
            forebay_gateway(env=env, cwd=ROOT) as (_, address),
            process(*echo, *options, "--without-gossip", env=env, cwd=ROOT) as worker,
            grpc.insecure_channel(address) as channel,
        ):
            worker.wait_for(r" ready\.")
            yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> EchoServiceStub:
    return EchoServiceStub(channel)


@pytest.fixture
def operations(channel: grpc.Channel) -> operations_pb2_grpc.OperationsStub:
    return operations_pb2_grpc.OperationsStub(channel)


def error_of(call: Callable[[], object]) -> ForebayError:
    """The error that the call ends with; `grpc_status` can read it, too."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    status = rpc_status.from_call(raised.value)
    assert status is not None
    return of_rpc_error(raised.value)


def assert_is_start_of(message: str, text: str) -> None:
    mark = re.search(r"… \(([0-9,]+) characters more\)\Z", message)
    assert mark is not None
    kept = message[: mark.start()]
    assert len(kept) > 100
    assert text.startswith(kept)
    assert len(kept) + int(mark[1].replace(",", "")) == len(text)


@pytest.mark.parametrize("letter", ALPHABETS.values(), ids=ALPHABETS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ["Unary", "Quick", "ServerStream"])
def test_the_handlers_code_survives_a_message_of_any_size(
    stub: EchoServiceStub, method: str, size: int, letter: str
) -> None:
    text = letter * (size // len(letter.encode()))
    request = EchoRequest(status=EchoStatus(code=5, message=text), count=1)

    def attempt() -> None:
        response = getattr(stub, method)(request, timeout=TIMEOUT_S)
        list(response) if method == "ServerStream" else None

    error = error_of(attempt)
    assert (error.code_name, error.reason) == ("NOT_FOUND", "HANDLER_ABORTED")
    if size == SIZES[0]:
        assert error.message == text
    elif size > SIZES[1]:
        assert_is_start_of(error.message, text)


@pytest.mark.parametrize("size", SIZES)
def test_echoed_input_does_not_hide_the_code_of_an_admin_service(
    operations: operations_pb2_grpc.OperationsStub, size: int
) -> None:
    for letter in ALPHABETS.values():
        name = "operations/" + letter * size
        request = operations_pb2.GetOperationRequest(name=name)
        error = error_of(
            lambda request=request: operations.GetOperation(request, timeout=TIMEOUT_S)
        )
        assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
        listing = operations_pb2.ListOperationsRequest(filter=f'done = "{letter * size}"')
        error = error_of(
            lambda listing=listing: operations.ListOperations(listing, timeout=TIMEOUT_S)
        )
        assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")


@pytest.mark.parametrize("size", [1 << 10, 16 << 10, 256 << 10])
@pytest.mark.parametrize("method", ["Unary", "Quick", "ServerStream"])
def test_a_handlers_metadata_over_the_limit_is_omitted_and_counted(
    stub: EchoServiceStub, method: str, size: int
) -> None:
    request = EchoRequest(act="large metadata", padding=size, text="fine", count=1)
    call = (
        stub.ServerStream(request, timeout=TIMEOUT_S)
        if method == "ServerStream"
        else getattr(stub, method).future(request, timeout=TIMEOUT_S)
    )
    (response,) = list(call) if method == "ServerStream" else [call.result()]
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert call.code() is grpc.StatusCode.OK
    assert len(response.padding) == size
    assert CALL_ID in {**initial, **trailing}
    for metadata in initial, trailing:
        assert metadata["x-small"] == "s"
        assert ("x-large-bin" in metadata) is (size == 1 << 10)
        assert metadata.get(OMITTED) == (None if size == 1 << 10 else "1")
