"""Methods that return an operation, driven by Google's own futures, by stubs and by commands."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions, operation, operation_async
from google.api_core.operations_v1 import OperationsAsyncClient, OperationsClient
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.rpc import error_details_pb2

import forebay
from forebay.rpc_errors import of_rpc_error
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.keys_file import written_keys
from forebay_gateway.testing import serving
from tests.commands import Ran, run
from tests.e2e.known_calls import metadata_of, refusal
from tests.harness import environment, eventually, forebay_gateway, process, short_folder
from tests.protoc import descriptor_set
from tests.reports.v1 import reports_pb2 as pb
from tests.reports.v1.reports_pb2_grpc import ReportServiceStub
from tests.reports.worker import ReportServicer

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30.0
REPORTS = pb.DESCRIPTOR.services_by_name["ReportService"]
SERVICE = REPORTS.full_name


@dataclass(frozen=True)
class System:
    """A gateway and a worker of ReportService, and clients of the gateway."""

    address: str
    env: dict[str, str]
    channel: grpc.Channel
    stub: ReportServiceStub
    operations: OperationsClient

    def render(self, **fields: Any) -> Any:
        """Google's future for a report."""
        started = self.stub.Render(pb.RenderRequest(**fields), timeout=TIMEOUT_S)
        return operation.from_gapic(
            started, self.operations, pb.Report, metadata_type=pb.RenderProgress
        )

    def run(self, *command: str) -> Ran:
        """Runs a `forebay` command on the gateway."""
        return run("forebay", *command, env=self.env)


@pytest.fixture(
    scope="module", params=["redis", pytest.param("rabbitmq", marks=pytest.mark.variant)]
)
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    more = {}
    if request.param == "rabbitmq":
        more["FOREBAY_BROKER_URL"] = request.getfixturevalue("rabbitmq").url("operations")
    with short_folder() as folder:
        env = environment(
            FOREBAY_SERVICES=json.dumps(["tests.reports.v1.reports_pb2"]),
            FOREBAY_DATA_DIR=str(folder / "data"),
            **more,
        )
        celery = ["celery", "-A", "tests.reports.worker", "worker", "-Q", "reports", "-l", "INFO"]
        options = ["--pool", "threads", "--concurrency", "4", "--without-mingle"]
        with (
            forebay_gateway(env=env, cwd=ROOT) as (_, address),
            process(*celery, *options, "--without-gossip", env=env, cwd=ROOT) as worker,
            grpc.insecure_channel(address) as channel,
        ):
            worker.wait_for(r" ready\.")
            yield System(
                address,
                {**env, "FOREBAY_ADDRESS": address},
                channel,
                ReportServiceStub(channel),
                OperationsClient(channel),
            )


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that a handler waits for, which is made at the end of the test at the latest."""
    return tmp_path / "gate"


def new_id() -> str:
    return f"report-{uuid.uuid4()}"


def infos_of(error: exceptions.GoogleAPICallError) -> list[error_details_pb2.ErrorInfo]:
    """The details of a failed operation that say why it failed."""
    (status,) = error.errors
    infos = [error_details_pb2.ErrorInfo() for _ in status.details]
    return [info for info, detail in zip(infos, status.details, strict=True) if detail.Unpack(info)]


def test_googles_future_gets_metadata_while_the_call_runs_and_then_the_result(
    system: System, gate: Path
) -> None:
    future = system.render(title="sales", pages=4, gate=str(gate))
    assert not future.done()
    eventually(lambda: future.metadata.page == 3 or future.done(), "it waits at the last page")
    assert (future.metadata.fraction, future.done()) == (0.75, False)
    ended = threading.Event()
    future.add_done_callback(lambda done: ended.set())
    gate.touch()
    assert future.result(timeout=TIMEOUT_S) == pb.Report(title="sales", pages=4)
    assert future.metadata == pb.RenderProgress(fraction=1, page=4)
    assert ended.wait(TIMEOUT_S)


def test_a_future_that_is_cancelled_cancels_the_call(system: System, gate: Path) -> None:
    future = system.render(title="sales", pages=1, gate=str(gate))
    name = future.operation.name
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(exceptions.Cancelled):
        future.result(timeout=TIMEOUT_S)
    assert system.operations.get_operation(name).error.code == 1


def test_an_error_has_the_handlers_status_and_details(system: System) -> None:
    future = system.render(act="abort with details")
    with pytest.raises(exceptions.FailedPrecondition, match="no ink") as raised:
        future.result(timeout=TIMEOUT_S)
    assert ("NO_INK", "reports") in [(info.reason, info.domain) for info in infos_of(raised.value)]
    failed = system.render(act="raise")
    assert "secret" not in str(failed.exception(timeout=TIMEOUT_S))


@dataclass(frozen=True)
class Asyncio:
    """Clients of the gateway for asyncio."""

    stub: Any
    operations: OperationsAsyncClient

    async def render(self, **fields: Any) -> Any:
        """Google's asyncio future for a report."""
        started = await self.stub.Render(pb.RenderRequest(**fields), timeout=TIMEOUT_S)
        return operation_async.from_gapic(
            started, self.operations, pb.Report, metadata_type=pb.RenderProgress
        )


@pytest.fixture
async def aio(system: System) -> AsyncIterator[Asyncio]:
    async with grpc.aio.insecure_channel(system.address) as channel:
        stub = ReportServiceStub(channel)  # type: ignore[arg-type]
        yield Asyncio(stub, OperationsAsyncClient(channel))


async def test_googles_asyncio_future_gets_metadata_while_the_call_runs_and_then_the_result(
    aio: Asyncio, gate: Path
) -> None:
    future = await aio.render(title="sales", pages=4, gate=str(gate))
    while future.metadata is None or future.metadata.page < 3:
        assert not await future.done(), "it waits at the last page"
    assert (future.metadata.fraction, await future.running()) == (0.75, True)
    with pytest.raises(asyncio.TimeoutError):
        await future.result(timeout=0.001)
    ended = asyncio.Event()
    future.add_done_callback(lambda done: ended.set())
    gate.touch()  # noqa: ASYNC240 - takes microseconds
    await asyncio.wait_for(ended.wait(), TIMEOUT_S)  # the callback alone makes it poll
    assert await future.done()
    assert await future.result() == pb.Report(title="sales", pages=4)
    assert await future.exception() is None
    assert future.metadata == pb.RenderProgress(fraction=1, page=4)
    assert not await future.cancel(), "it has ended"
    late = asyncio.Event()
    future.add_done_callback(lambda done: late.set())
    await asyncio.wait_for(late.wait(), TIMEOUT_S)


async def test_an_asyncio_future_that_is_cancelled_cancels_the_call(
    system: System, aio: Asyncio, gate: Path
) -> None:
    future = await aio.render(title="sales", pages=1, gate=str(gate))
    ended = asyncio.Event()
    future.add_done_callback(lambda done: ended.set())
    assert await future.cancel()
    assert await future.cancelled()
    await asyncio.wait_for(ended.wait(), TIMEOUT_S)
    with pytest.raises(exceptions.GoogleAPICallError) as raised:
        await future.result(timeout=TIMEOUT_S)
    (status,) = raised.value.errors
    assert status.code == grpc.StatusCode.CANCELLED.value[0]
    assert system.operations.get_operation(future.operation.name).error == status


async def test_an_asyncio_futures_error_has_the_handlers_status_and_details(aio: Asyncio) -> None:
    future = await aio.render(act="abort with details")
    with pytest.raises(exceptions.GoogleAPICallError, match="no ink") as raised:
        await future.result(timeout=TIMEOUT_S)
    assert ("NO_INK", "reports") in [(info.reason, info.domain) for info in infos_of(raised.value)]
    assert raised.value.errors[0].code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert await future.exception() is raised.value
    assert not await future.cancelled()
    failed = await (await aio.render(act="raise")).exception(timeout=TIMEOUT_S)
    assert failed.errors[0].code == grpc.StatusCode.INTERNAL.value[0]
    assert "HANDLER_FAILED" in [info.reason for info in infos_of(failed)]
    assert "secret" not in str(failed.errors)


def test_a_handler_may_yield_its_response_or_only_return_it(system: System) -> None:
    assert system.render(pages=2, act="yield the report").result(timeout=TIMEOUT_S).pages == 2
    started = system.stub.RenderOnce(pb.RenderRequest(title="ab", pages=3), timeout=TIMEOUT_S)
    future = operation.from_gapic(
        started, system.operations, pb.Report, metadata_type=empty_pb2.Empty
    )
    assert future.result(timeout=TIMEOUT_S).text == "ababab"
    assert future.metadata == empty_pb2.Empty()


@pytest.mark.parametrize("act", ["nothing", "yield it twice", "yield it first", "wrong type"])
def test_a_handler_without_exactly_one_response_has_failed(system: System, act: str) -> None:
    failed = system.render(pages=1, act=act).exception(timeout=TIMEOUT_S)
    assert isinstance(failed, exceptions.InternalServerError)


def test_the_same_request_id_is_the_same_operation(system: System, gate: Path) -> None:
    request = pb.RenderRequest(request_id=new_id(), title="a", pages=1, gate=str(gate))

    def call() -> tuple[Any, str]:
        answer, rpc = system.stub.Render.with_call(request, timeout=TIMEOUT_S)
        return answer, str(dict(rpc.initial_metadata())["forebay-attached"])

    started, attached = call()
    assert (started.name, attached) == (f"operations/{request.request_id}", "new")
    assert not started.done
    again, attached = call()
    assert (again.name, again.done, attached) == (started.name, False, "running")
    gate.touch()
    eventually(lambda: call()[0].done, "it ends")
    ended, attached = call()
    report = pb.Report()
    assert attached == "finished"
    assert ended.response.Unpack(report)
    assert report.title == "a"
    request.title = "b"
    assert refusal(call)[:2] == ("ALREADY_EXISTS", "CALL_ID_REUSED")


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Render", pb.RenderRequest(request_id="no id")),
        ("Archive", pb.ArchiveRequest(request_id="archive-7")),
    ],
)
def test_a_bad_request_id_is_refused_with_its_field(
    system: System, method: str, request_: Any
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        getattr(system.stub, method)(request_, timeout=TIMEOUT_S)
    error = of_rpc_error(raised.value)
    assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert [violation.field for violation in error.violations] == ["request_id"]


def test_a_call_goes_on_without_its_caller_and_is_found_by_name(system: System) -> None:
    with grpc.insecure_channel(system.address) as channel:
        started = ReportServiceStub(channel).Render(
            pb.RenderRequest(title="alone", pages=3), timeout=TIMEOUT_S
        )
    request = operations_pb2.WaitOperationRequest(name=started.name)
    ended = system.operations.operations_stub.WaitOperation(request, timeout=TIMEOUT_S)
    report = pb.Report()
    assert ended.response.Unpack(report)
    assert report == pb.Report(title="alone", pages=3)


def test_the_callers_deadline_is_not_the_calls(system: System) -> None:
    started = system.stub.Render(
        pb.RenderRequest(act="say who calls"), timeout=5, metadata=(("x-wish", "blue"),)
    )
    future = operation.from_gapic(started, system.operations, pb.Report)
    report = future.result(timeout=TIMEOUT_S)
    assert report.title == "blue"
    assert float(report.text) > 1e6, "the handler has no deadline"


def test_an_attempt_ends_at_the_routes_run_time(system: System) -> None:
    started = system.stub.Archive(
        pb.ArchiveRequest(request_id=str(uuid.uuid4()), files=100, seconds=0.05), timeout=TIMEOUT_S
    )
    future = operation.from_gapic(
        started, system.operations, pb.Archived, metadata_type=pb.Archived
    )
    with pytest.raises(exceptions.DeadlineExceeded):
        future.result(timeout=TIMEOUT_S)
    assert future.metadata.files > 0


def test_an_operation_that_no_worker_begins_fails(system: System) -> None:
    started = system.stub.Forgotten(pb.RenderRequest(), timeout=TIMEOUT_S)
    future = operation.from_gapic(started, system.operations, pb.Report)
    with pytest.raises(exceptions.ServiceUnavailable, match="no live worker"):
        future.result(timeout=TIMEOUT_S)


def test_a_listing_has_the_declared_types_or_the_calls(system: System) -> None:
    future = system.render(title="listed", pages=1)
    future.result(timeout=TIMEOUT_S)
    (mine,) = [
        one
        for one in system.operations.list_operations("operations", f"method = {SERVICE}.Render")
        if one.name == future.operation.name
    ]
    assert mine.metadata.Is(pb.RenderProgress.DESCRIPTOR)
    assert mine.response.Is(pb.Report.DESCRIPTOR)
    stub = system.operations.operations_stub
    request = operations_pb2.GetOperationRequest(name=mine.name)
    view = (("forebay-operation-metadata", "call"),)
    assert metadata_of(stub.GetOperation(request, metadata=view)).method == f"{SERVICE}.Render"
    bad = (("forebay-operation-metadata", "none"),)
    assert refusal(lambda: stub.GetOperation(request, metadata=bad))[0] == "INVALID_ARGUMENT"


def test_a_resuming_channel_uses_the_request_id(system: System) -> None:
    with forebay.channel(system.address) as channel:
        stub = ReportServiceStub(channel)
        request = pb.RenderRequest(request_id=new_id(), title="a", pages=1)
        assert stub.Render(request).name == f"operations/{request.request_id}"
        assert stub.Render(pb.RenderRequest(pages=1)).name.startswith("operations/")
        raw = channel.unary_unary(f"/{SERVICE}/Render")
        again = operations_pb2.Operation.FromString(raw(request.SerializeToString()))
        assert again.name == f"operations/{request.request_id}"
        request.request_id = "no id ☃"
        assert refusal(lambda: stub.Render(request))[0] == "INVALID_ARGUMENT"


def test_commands_show_operations_as_calls(system: System, gate: Path) -> None:
    call_id = new_id()
    fields = [f"request_id={call_id}", "title=sales", "pages=2", f"gate={gate}"]
    (started,) = system.run("call", "Render", *fields).succeeded().messages
    assert started["name"] == f"operations/{call_id}"
    timed_out = system.run("call", "Render", *fields, "--wait", "--timeout", "0.5")
    assert timed_out.code == 124
    assert f"operations/{call_id} is " in timed_out.err

    def listed(*options: str) -> dict[str, Any]:
        # Here and with these settings nothing but the gateway knows the messages.
        env = {name: value for name, value in system.env.items() if name != "FOREBAY_SERVICES"}
        ran = run("forebay", "ps", "--json", *options, env=env, cwd=gate.parent)
        rows = ran.succeeded().messages
        (row,) = [row for row in rows if row["id"] == call_id]
        return dict(row)

    eventually(lambda: listed()["progress"] == 0.5, "its progress is listed")
    assert listed()["state"] == "RUNNING"
    assert listed("--service", "forebay.compute.v1.compute_pb2")["progress"] is None
    gate.touch()
    (report,) = system.run("call", "Render", *fields, "--wait").succeeded().messages
    assert report == {"title": "sales", "pages": 2}
    assert "SUCCEEDED" in system.run("wait", started["name"]).succeeded().out
    assert system.run("logs", call_id).succeeded().messages == [report]
    failed = system.run("call", "Render", "act=set code", "--wait")
    assert failed.code == 1
    assert "OUT_OF_RANGE" in failed.err


@pytest.mark.parametrize("timeout_s", [0.0001, 0.001])
def test_a_command_whose_operation_may_not_have_started_prints_its_id(
    system: System, timeout_s: float
) -> None:
    """The deadline passes in the client, or in the gateway before the call has come in."""
    call_id = new_id()
    ran = system.run("call", "Render", f"request_id={call_id}", "--timeout", str(timeout_s))
    assert ran.code == 1
    assert ran.err.startswith("Error: DEADLINE_EXCEEDED")
    assert f"  id: {call_id}\n" in ran.err


def test_a_command_that_waits_goes_on_at_another_gateway(system: System, gate: Path) -> None:
    call_id = new_id()
    request = operations_pb2.GetOperationRequest(name=f"operations/{call_id}")
    with forebay_gateway(env=system.env, cwd=ROOT) as (other, address):
        fields = [f"request_id={call_id}", "title=sales", "pages=2", f"gate={gate}"]
        targets = ["--target", f"{address},{system.address}"]
        command = ["forebay", "call", "Render", *fields, "--wait", *targets]
        with process(*command, env=system.env) as waiting:

            def runs() -> bool:
                try:
                    started = system.operations.operations_stub.GetOperation(request)
                except grpc.RpcError:
                    return False
                return bool(started.metadata.value)

            eventually(runs, "it waits")
            other.popen.kill()
            other.popen.wait()
            gate.touch()
            assert waiting.ended() == 0
            assert json.loads(waiting.lines[-1]) == {"title": "sales", "pages": 2}


def test_grpcurl_reads_the_declared_messages(system: System) -> None:
    request = json.dumps({"title": "sales", "pages": 1})

    def ask(text: str, method: str) -> dict[str, Any]:
        command = ["grpcurl", "-plaintext", "-d", text, system.address, method]
        return dict(run(*command, env=system.env).succeeded().messages[0])

    name = ask(request, f"{SERVICE}/Render")["name"]
    ended = ask(json.dumps({"name": name}), "google.longrunning.Operations/WaitOperation")
    assert ended["response"] == {
        "@type": f"type.googleapis.com/{pb.Report.DESCRIPTOR.full_name}",
        "title": "sales",
        "pages": 1,
    }
    assert ended["metadata"]["page"] == 1


BAD = """\
syntax = "proto3";
package t;
import "forebay/v1/route.proto";
import "google/longrunning/operations.proto";
service S {
  rpc Run(Request) returns (google.longrunning.Operation) {
    option (google.longrunning.operation_info) = {response_type: "Reqest"};
    option (forebay.v1.route) = {task: "t.run", queue: "t", ephemeral: true};
  }
}
message Request { int32 request_id = 1; }
"""


def test_a_gateway_does_not_start_with_bad_operations(tmp_path: Path) -> None:
    env = environment(FOREBAY_SERVICES=json.dumps([str(descriptor_set(BAD, tmp_path))]))
    refused = run("forebay", "gateway", "--listen", "127.0.0.1:0", env=env)
    assert refused.code == 1
    for problem in (
        "did you mean `Request`?",
        "`operation_info` has no `metadata_type`",
        "`ephemeral` is not for methods with `operation_info`",
        "t.Request.request_id is the id of the call",
    ):
        assert problem in refused.err


def test_a_gateway_warns_if_its_operations_can_not_be_read(system: System) -> None:
    beyond = ("--listen", "0.0.0.0:0", "--insecure")
    with forebay_gateway(*beyond, env=system.env, cwd=ROOT) as (gateway, _):
        gateway.wait_for(rf"{SERVICE}\.Render, .* return operations, but callers can't read them")


def test_tenants_have_operations_of_their_own(tmp_path: Path) -> None:
    keys, tokens = [], {}
    for tenant in ("acme", "umbrella"):
        key, tokens[tenant] = new_key(tenant, ("caller",), tenant, None)
        keys.append(key)
    file = tmp_path / "keys.toml"
    file.write_text(written_keys(keys))
    file.chmod(0o600)
    settings = {
        "auth": {"keys": [{"file": str(file)}]},
        "roles": {"caller": [f"{SERVICE}.*", "forebay.calls.read"]},
        "tenants": {"*": {"queued": 10}},
    }
    with serving({REPORTS: ReportServicer()}, settings=settings) as service:
        stub, client = ReportServiceStub(service.channel), OperationsClient(service.channel)

        def identity(tenant: str) -> list[tuple[str, str]]:
            return [("authorization", f"Bearer {tokens[tenant]}")]

        futures = {}
        for tenant in tokens:
            request = pb.RenderRequest(request_id="nightly", title=tenant, pages=1)
            started = stub.Render(request, timeout=TIMEOUT_S, metadata=identity(tenant))
            futures[tenant] = operation.from_gapic(
                started, client, pb.Report, grpc_metadata=identity(tenant)
            )
        for tenant, future in futures.items():
            assert future.operation.name == "operations/nightly"
            assert future.result(timeout=TIMEOUT_S).title == tenant
        with pytest.raises(exceptions.PermissionDenied):
            client.cancel_operation("operations/nightly", metadata=identity("acme"))
        with pytest.raises(exceptions.Unauthenticated):
            client.get_operation("operations/nightly")


def test_a_full_queue_takes_operations_again_when_workers_have_begun_some(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    settings = {"max_queue_depth": 3}
    with serving({REPORTS: ReportServicer()}, concurrency=1, settings=settings) as service:
        stub = ReportServiceStub(service.channel)

        def start() -> str:
            try:
                request = pb.RenderRequest(pages=1, gate=str(gate))
                return str(stub.Render(request, timeout=TIMEOUT_S).name)
            except grpc.RpcError as error:
                return of_rpc_error(error).reason

        eventually(lambda: start() == "QUEUE_FULL", "the queue is full")
        gate.touch()
        for _ in range(10):  # more than the queue takes at once
            eventually(lambda: start().startswith("operations/"), "there is room")
