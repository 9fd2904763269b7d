"""The web front of real gateways, called by connectrpc's client."""

from __future__ import annotations

import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from connectrpc.client import ConnectClientSync, ResponseMetadata
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.protocol import ProtocolType
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from pyqwest import SyncClient, SyncHTTPTransport

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.v1 import calls_pb2
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.keys_file import written_keys
from tests import identity_on
from tests.certificates import Authority, TlsFiles
from tests.commands import run
from tests.conftest import Up
from tests.e2e.conftest import ROOT, Site
from tests.e2e.known_calls import LONG, new_id
from tests.harness import environment, eventually, forebay_gateway, forebay_up, short_folder

COMPUTE = "forebay.compute.v1.ComputeService"
OPERATIONS, CALLS, HEALTH = (
    "google.longrunning.Operations",
    "forebay.v1.CallService",
    "grpc.health.v1.Health",
)
WAYS = [
    (ProtocolType.CONNECT, google_protobuf_json_codec()),
    (ProtocolType.GRPC_WEB, google_protobuf_binary_codec()),
]
TIMEOUT_MS = 30_000
TOO_LARGE = 2**32 - 1

plain_http = pytest.mark.skipif(identity_on.is_on(), reason="its gateway is reached without TLS")


@pytest.fixture(params=WAYS, ids=["connect-json", "grpc-web-binary"])
def client(up: Up, request: pytest.FixtureRequest) -> Iterator[ConnectClientSync]:
    protocol, codec = request.param
    options: Any = {"codec": codec, "protocol": protocol, "timeout_ms": TIMEOUT_MS}
    with ConnectClientSync(up.web, **options) as client:
        yield client


def method(service: str, name: str, response: type[Message], *, streams: bool = False) -> Any:
    return MethodInfo(
        name=name,
        service_name=service,
        input=Message,
        output=response,
        idempotency_level=IdempotencyLevel.NO_SIDE_EFFECTS,
        stream_type=StreamType.SERVER_STREAM if streams else StreamType.UNARY,
    )


ADD = method(COMPUTE, "Add", pb.AddResponse)
MATMUL = MethodInfo(
    name="MatMul",
    service_name=COMPUTE,
    input=pb.MatMulRequest,
    output=pb.MatMulResponse,
    idempotency_level=IdempotencyLevel.NO_SIDE_EFFECTS,
    stream_type=StreamType.BIDI_STREAM,
)
FACTORIAL = method(COMPUTE, "Factorial", pb.FactorialResponse, streams=True)


def factorial(client: ConnectClientSync, n: int, **headers: str) -> Iterator[Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    yield from client.execute_server_stream(
        request=pb.FactorialRequest(n=n), method=FACTORIAL, headers=named
    )


def state_of(client: ConnectClientSync, call_id: str) -> str:
    get = method(OPERATIONS, "GetOperation", operations_pb2.Operation)
    request = operations_pb2.GetOperationRequest(name=f"operations/{call_id}")
    try:
        operation = client.execute_unary(request=request, method=get)
    except ConnectError:
        return ""
    metadata = calls_pb2.CallMetadata()
    operation.metadata.Unpack(metadata)
    return (
        calls_pb2.CallMetadata.DESCRIPTOR.fields_by_name["state"]
        .enum_type.values_by_number[metadata.state]
        .name.removeprefix("CALL_STATE_")
    )


@plain_http
def test_calls_of_compute_service(client: ConnectClientSync) -> None:
    with ResponseMetadata() as got:
        assert client.execute_unary(request=pb.AddRequest(x=1, y=2), method=ADD).sum == 3
    assert got.trailers["forebay-attempts"] == "1"
    digits = "".join(item.digits for item in factorial(client, 30))
    assert digits == "265252859812191058636308480000000"


@plain_http
def test_add_is_called_by_get(up: Up) -> None:
    """As a browser's cache and `curl` do."""
    query = "?connect=v1&encoding=json&message=%7B%22x%22%3A1%2C%22y%22%3A2%7D"
    with urllib.request.urlopen(f"{up.web}/{COMPUTE}/Add{query}", timeout=30) as answer:  # noqa: S310
        assert answer.read() == b'{"sum": 3.0}'


@plain_http
def test_an_error_has_the_status_and_details_that_grpc_has(
    client: ConnectClientSync, stub: ComputeServiceStub
) -> None:
    request = pb.FactorialRequest(n=TOO_LARGE)
    with pytest.raises(grpc.RpcError) as by_grpc:
        list(stub.Factorial(request, timeout=30))
    expected = status_pb2.Status.FromString(
        dict(by_grpc.value.trailing_metadata())["grpc-status-details-bin"]
    )
    with pytest.raises(ConnectError) as raised:
        list(factorial(client, TOO_LARGE))
    error = raised.value
    assert error.code.value == by_grpc.value.code().name.lower()
    assert error.message == by_grpc.value.details()
    details = [(detail.type_name, detail.message_bytes) for detail in error.details]
    assert details == [
        (detail.type_url.rpartition("/")[2], detail.value) for detail in expected.details
    ]
    info = error_details_pb2.ErrorInfo.FromString(details[0][1])
    assert info.domain == "forebay"


@plain_http
def test_a_call_is_left_resumed_seen_and_cancelled(client: ConnectClientSync) -> None:
    """The call goes on while nobody watches it; `Operations` and `CallService` show it."""
    call_id = new_id()
    whole = [item for item in factorial(client, 20_000) if not item.HasField("progress")]
    items = factorial(client, 20_000, forebay_call_id=call_id)
    first = next(item for item in items if not item.HasField("progress"))
    items.close()
    rest = factorial(client, 20_000, forebay_call_id=call_id, forebay_resume_from="1")
    ordinary = [first, *(item for item in rest if not item.HasField("progress"))]
    assert ordinary == whole
    assert state_of(client, call_id) == "SUCCEEDED"
    long_id = new_id()
    items = factorial(client, LONG, forebay_call_id=long_id)
    next(items)
    cancel = method(OPERATIONS, "CancelOperation", empty_pb2.Empty)
    client.execute_unary(
        request=operations_pb2.CancelOperationRequest(name=f"operations/{long_id}"), method=cancel
    )
    eventually(lambda: state_of(client, long_id) == "CANCELLED", "the call is cancelled")
    with pytest.raises(ConnectError):
        list(items)
    queues = method(CALLS, "ListQueues", calls_pb2.ListQueuesResponse)
    listed = client.execute_unary(request=calls_pb2.ListQueuesRequest(), method=queues)
    assert {"add", "factorial"} <= {queue.name for queue in listed.queues}


@plain_http
def test_health_and_what_is_not_served(client: ConnectClientSync) -> None:
    check = method(HEALTH, "Check", health_pb2.HealthCheckResponse)
    assert client.execute_unary(request=health_pb2.HealthCheckRequest(), method=check).status == 1
    with pytest.raises(ConnectError) as raised:
        next(client.execute_bidi_stream(request=iter([pb.MatMulRequest()]), method=MATMUL))
    assert "takes a stream of requests" in raised.value.message


# Settings, several processes, identity


@plain_http
@pytest.mark.variant
def test_two_of_forebay_up_serve_browsers_side_by_side(up: Up) -> None:
    with short_folder() as folder:
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"))
        with forebay_up("--concurrency", "1", env=env) as (process, _):
            web = process.wait_for(r"serves browsers on (\S+)")[1]
            assert web != up.web
            with ConnectClientSync(web, codec=WAYS[0][1], timeout_ms=TIMEOUT_MS) as client:
                assert client.execute_unary(request=pb.AddRequest(x=1, y=2), method=ADD).sum == 3


def test_an_address_in_use_is_a_clear_error(up: Up) -> None:
    address = up.web.rpartition("/")[2]
    ran = run("forebay", "gateway", "--listen", "127.0.0.1:0", "--web-listen", address, env=up.env)
    assert ran.code == 1
    assert f"can't listen on {address}" in ran.err
    assert "--web-listen HOST:PORT" in ran.err


@plain_http
def test_it_is_not_reachable_from_elsewhere_unless_secured(up: Up) -> None:
    ran = run("forebay", "gateway", "--web-listen", "0.0.0.0:0", env=up.env)
    assert ran.code == 1
    assert "web_listen = '0.0.0.0:0': beyond loopback, a gateway needs [tls] and [auth]" in ran.err


@plain_http
@pytest.mark.variant
def test_each_of_several_processes_serves_browsers(site: Site) -> None:
    options = ("--processes", "2", "--web-listen", "127.0.0.1:0")
    with forebay_gateway(*options, env=site.env, cwd=ROOT) as (process, _):
        web = process.wait_for(r"serves browsers on (\S+)")[1]
        members = psutil.Process(process.popen.pid).children()

        def add() -> float:
            with (
                SyncHTTPTransport() as transport,
                ConnectClientSync(
                    web,
                    codec=WAYS[0][1],
                    timeout_ms=TIMEOUT_MS,
                    http_client=SyncClient(transport),
                ) as client,
            ):
                answer = client.execute_unary(request=pb.AddRequest(x=1, y=2), method=ADD)
                return float(answer.sum)

        assert [add() for _ in range(16)] == [3.0] * 16
        members[0].send_signal(signal.SIGKILL)
        members[0].wait()
        assert [add() for _ in range(8)] == [3.0] * 8


@pytest.mark.variant
def test_identity_is_the_same_as_for_grpc(site: Site, tmp_path: Path) -> None:
    """TLS by the gateway's certificate, an API key in the header, permissions by role."""
    authority = Authority(tmp_path)
    files = TlsFiles(tmp_path, authority.issue("gateway", "127.0.0.1", "localhost"))
    keys = tmp_path / "keys.toml"
    key, token = new_key("acme", ("adder",), "tests", None)
    keys.write_text(written_keys([key]))
    env = {
        **site.env,
        **files.variables(),
        "FOREBAY_AUTH__KEYS": f'[{{"file": "{keys}"}}]',
        "FOREBAY_ROLES": f'{{"adder": ["{COMPUTE}.Add"]}}',
    }
    context = ssl.create_default_context(cafile=str(authority.ca))
    with forebay_gateway("--web-listen", "127.0.0.1:0", env=env, cwd=ROOT) as (process, _):
        web = process.wait_for(r"serves browsers on (https://\S+)")[1]

        def status(path: str, **headers: str) -> int:
            request = urllib.request.Request(  # noqa: S310
                f"{web}/{path}", b"{}", {"content-type": "application/json", **headers}
            )
            try:
                with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return int(error.code)

        known = {"authorization": f"Bearer {token}"}
        assert status(f"{COMPUTE}/Add") == 401
        assert status(f"{COMPUTE}/Add", authorization="Bearer no key") == 401
        assert status(f"{COMPUTE}/Add", **known) == 200
        assert status(f"{OPERATIONS}/ListOperations", **known) == 403
