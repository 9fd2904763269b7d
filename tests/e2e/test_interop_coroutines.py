"""gRPC's interop tests again, by coroutines, on `grpc.aio.server` and on Forebay's asyncio pool.

The cases are those of test_interop.py; only the servers differ. Those that look into the ledger run
on Forebay alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
import redis

from tests.e2e.interop import AioCaller, Caller, SyncCaller
from tests.e2e.test_interop import (
    System,
    test_all_pings_then_all_pongs,
    test_cancel_after_begin,
    test_cancel_after_first_response,
    test_client_streaming,
    test_custom_metadata,
    test_empty_unary,
    test_large_unary,
    test_ping_pong,
    test_server_streaming,
    test_status_code_and_message,
    test_status_code_and_message_after_responses,
    test_timeout_on_sleeping_server,
    test_unimplemented_method,
    test_unimplemented_service,
)
from tests.echo.aio_worker import AioEchoServicer
from tests.echo.running import COROUTINES_APP, echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub, add_EchoServiceServicer_to_server
from tests.harness import short_folder
from tests.servicers.aio_server import aio_server

__all__ = [
    "test_all_pings_then_all_pongs",
    "test_cancel_after_begin",
    "test_cancel_after_first_response",
    "test_client_streaming",
    "test_custom_metadata",
    "test_empty_unary",
    "test_large_unary",
    "test_ping_pong",
    "test_server_streaming",
    "test_status_code_and_message",
    "test_status_code_and_message_after_responses",
    "test_timeout_on_sleeping_server",
    "test_unimplemented_method",
    "test_unimplemented_service",
]


pytestmark = pytest.mark.variant


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with short_folder() as folder:
        env = echo_environment(FOREBAY_DATA_DIR=str(folder / "data"), FOREBAY_LINGER_S="0.1")
        with (
            echo_gateway(env) as (_, address),
            echo_worker(env, "asyncio", 20, COROUTINES_APP),
            redis.Redis(unix_socket_path=f"{folder}/data/ledger.sock") as server,
        ):
            yield System(address, server)


@pytest.fixture(scope="module")
def grpcs_own() -> Iterator[str]:
    def add(server: grpc.aio.Server) -> None:
        add_EchoServiceServicer_to_server(AioEchoServicer(), server)

    with aio_server(add) as address:
        yield address


@pytest.fixture(params=["grpc.aio.server", "Forebay"])
def address(request: pytest.FixtureRequest) -> str:
    if request.param == "Forebay":
        running: System = request.getfixturevalue("system")
        return running.address
    own: str = request.getfixturevalue("grpcs_own")
    return own


@pytest.fixture(params=[SyncCaller, AioCaller], ids=["sync", "aio"])
def caller(address: str, request: pytest.FixtureRequest) -> Iterator[Caller]:
    caller = request.param(address)
    yield caller
    caller.close()


@pytest.fixture
def stub(system: System) -> Iterator[EchoServiceStub]:
    with grpc.insecure_channel(system.address) as channel:
        yield EchoServiceStub(channel)
