"""Services of packages that ship no `.proto`: all parts of Forebay read their routes in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_channelz.v1 import channelz_pb2 as channelz
from grpc_channelz.v1.channelz_pb2_grpc import ChannelzStub
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

import forebay
from forebay.metadata import ATTACHED, CALL_ID
from forebay.resume.stub_services import StubServices
from forebay.routes import NO_ROUTES, RouteError, read_methods, read_route_file
from forebay.routes.descriptor_conflicts import with_dependencies
from forebay.service_config import service_config
from forebay_gateway.testing import serving
from tests.commands import run
from tests.foreign.servicers import Traces
from tests.harness import environment, forebay_up, free_port, process, short_folder
from tests.pages import DOCS, Reader

ROOT = Path(__file__).parents[2]
ROUTES = ROOT / "tests/foreign/routes.toml"
CHANNELZ_ROUTES = ROUTES.read_text().partition('["opentelemetry')[0]
CHANNELZ = "grpc_channelz.v1.channelz_pb2"
TRACES = "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
GET_SERVER = "grpc.channelz.v1.Channelz.GetServer"
EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService.Export"
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Site:
    """`forebay up` with both services, and the environment of its commands."""

    address: str
    env: dict[str, str]


@pytest.fixture(scope="module")
def foreign() -> Iterator[Site]:
    with short_folder() as folder:
        config = folder / "forebay.toml"
        config.write_text(f'services = ["{CHANNELZ}", "{TRACES}"]\nroutes = "{ROUTES}"\n')
        env = environment(
            FOREBAY_CONFIG=str(config), FOREBAY_DATA_DIR=str(folder / "data"), PYTHONPATH=str(ROOT)
        )
        with forebay_up("--app", "tests.foreign.worker", env=env) as (_, address):
            yield Site(address, env | {"FOREBAY_ADDRESS": address, "FOREBAY_LISTEN": address})


def export(*names: str) -> traces.ExportTraceServiceRequest:
    """A request with a span of each name."""
    request = traces.ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for name in names:
        scope.spans.add(name=name)
    return request


def test_generated_stubs_call_the_handlers(foreign: Site) -> None:
    with grpc.insecure_channel(foreign.address) as channel:
        answer = TraceServiceStub(channel).Export(
            export("a", ""), timeout=TIMEOUT_S, metadata=[("x-tenant", "acme")]
        )
        assert (answer.partial_success.rejected_spans, answer.partial_success.error_message) == (
            1,
            "acme",
        )
        stub = ChannelzStub(channel)
        request = channelz.GetServerRequest(server_id=7)
        for expected in ("new", "finished"):
            answer, call = stub.GetServer.with_call(
                request, timeout=TIMEOUT_S, metadata=[(CALL_ID, "get-server-7")]
            )
            assert answer.server.ref.server_id == 7
            assert dict(call.initial_metadata())[ATTACHED] == expected
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetServers(channelz.GetServersRequest(), timeout=TIMEOUT_S)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


def test_a_channel_of_ours_retries_what_the_file_says_may_run_again(foreign: Site) -> None:
    with forebay.channel(foreign.address, routes=ROUTES) as channel:
        answer = ChannelzStub(channel).GetServer(
            channelz.GetServerRequest(server_id=3), timeout=TIMEOUT_S
        )
        assert answer.server.ref.server_id == 3
    path = "/grpc.channelz.v1.Channelz/GetServer"
    assert StubServices(None, NO_ROUTES).method(path) is None
    method = StubServices(None, read_route_file(ROUTES)).method(path)
    assert method is not None
    assert method.may_run_again
    config = json.loads(service_config([service(CHANNELZ, "Channelz")], routes=ROUTES))
    assert config["methodConfig"][0]["name"] == [
        {"service": "grpc.channelz.v1.Channelz", "method": "GetServer"}
    ]


def service(module: str, name: str) -> object:
    """The descriptor of a service of one of the modules."""
    return {CHANNELZ: channelz, TRACES: traces}[module].DESCRIPTOR.services_by_name[name]


def test_routes_and_doctor_know_the_methods_and_their_workers(foreign: Site) -> None:
    shown = run("forebay", "routes", env={**foreign.env, "COLUMNS": "250"}).succeeded().out
    assert GET_SERVER in shown
    assert "durable, may run again" in shown
    assert EXPORT in shown
    assert "ephemeral, runs once" in shown
    found = run("forebay", "doctor", env=foreign.env)
    assert "queue channelz" in found.out
    assert "queue traces" in found.out
    assert "problem" not in found.out.replace("append-only file", "")


def test_the_commands_of_callers_take_the_file_too(foreign: Site) -> None:
    command = ["forebay", "call", "GetServer", "server_id=5", "--service", CHANNELZ]
    answer = run(*command, "--routes", str(ROUTES), env=foreign.env).succeeded()
    assert answer.messages[0]["server"]["ref"]["server_id"] == "5"


def test_commands_elsewhere_ask_the_gateway(foreign: Site, tmp_path: Path) -> None:
    env = environment(FOREBAY_ADDRESS=foreign.address, FOREBAY_DATA_DIR=str(tmp_path))
    called = run("forebay", "call", "GetServer", "server_id=7", env=env, cwd=tmp_path).succeeded()
    assert called.messages[0]["server"]["ref"]["server_id"] == "7"
    routes = run("forebay", "routes", "--json", env=env, cwd=tmp_path).succeeded()
    policies = {route["method"]: route["policy"] for route in routes.messages}
    assert policies == {GET_SERVER: "durable, may run again", EXPORT: "ephemeral, runs once"}


def test_a_descriptor_set_may_have_its_routes_in_a_file(tmp_path: Path) -> None:
    files = []
    for descriptor in with_dependencies([channelz.DESCRIPTOR]):
        descriptor.CopyToProto(proto := FileDescriptorProto())
        files.append(proto)
    (tmp_path / "channelz.binpb").write_bytes(FileDescriptorSet(file=files).SerializeToString())
    (tmp_path / "routes.toml").write_text(CHANNELZ_ROUTES)
    env = environment(FOREBAY_LEDGER_URL="redis://127.0.0.1:1/0", COLUMNS="250")
    command = ["forebay", "routes", "--service", "channelz.binpb", "--routes", "routes.toml"]
    assert GET_SERVER in run(*command, env=env, cwd=tmp_path).succeeded().out


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    with short_folder() as folder:
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"))
        here = {"127.0.0.1:50052": f"127.0.0.1:{free_port()}"}
        with Reader(tmp_path, env, here) as reader:
            reader.read(DOCS / "routes-file.md")


def test_all_problems_keep_a_gateway_from_starting(tmp_path: Path) -> None:
    text = ROUTES.read_text()
    text = text.replace("Channelz.GetServer", "Channelz.GetSrver")
    text = text.replace("queue_wait", "que_wait").replace('queue = "traces"', "")
    (tmp_path / "routes.toml").write_text(text + '["forebay.compute.v1.ComputeService.Add"]\n')
    env = environment(
        FOREBAY_SERVICES=json.dumps([CHANNELZ, TRACES, "forebay.compute.v1.compute_pb2"]),
        FOREBAY_ROUTES="routes.toml",
    )
    with process("forebay", "gateway", env=env, cwd=tmp_path) as gateway:
        assert gateway.ended() == 1
    for line in (
        "grpc.channelz.v1.Channelz has no such method; did you mean `GetServer`?",
        f"routes.toml: {EXPORT}: `limits.que_wait` is not a field of a route; did you mean `queue_",
        f"routes.toml: {EXPORT}: the route has no `queue`; set the name of a Celery queue",
        "ComputeService.Add: it has a route in forebay/compute/v1/compute.proto, too; remove one",
    ):
        assert line in gateway.output


def test_a_service_in_a_test_takes_the_file_as_a_setting() -> None:
    services = {service(TRACES, "TraceService"): Traces()}
    with serving(services, settings={"routes": ROUTES}) as running:  # type: ignore[arg-type]
        answer = TraceServiceStub(running.channel).Export(export("", ""), timeout=TIMEOUT_S)
        assert answer.partial_success.rejected_spans == 2
    with (
        pytest.raises(RouteError, match="read: No such file"),
        serving(
            services,
            settings={"routes": "absent.toml"},  # type: ignore[arg-type]
        ),
    ):
        pass


def test_an_application_that_a_test_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    text = f'["{EXPORT}"]\ntask = "t"\nqueue = "q"\nplain = {{application = "shop"}}\n'
    path.write_text(text)
    services = {service(TRACES, "TraceService"): Traces()}
    with (
        pytest.raises(RouteError, match="'shop', which is not an application in the settings"),
        serving(services, settings={"routes": path}),  # type: ignore[arg-type]
    ):
        pass


def test_the_levels_of_the_file_are_those_of_the_methods() -> None:
    services = [service(CHANNELZ, "Channelz"), service(TRACES, "TraceService")]
    methods = read_methods(services, read_route_file(ROUTES))  # type: ignore[arg-type]
    assert {one.name: one.may_run_again for one in methods} == {GET_SERVER: True, EXPORT: False}
