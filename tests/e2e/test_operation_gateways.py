"""Gateways of methods that return an operation: their start, tenants and full queues."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from google.api_core import exceptions, operation
from google.api_core.operations_v1 import OperationsClient

from forebay.rpc_errors import of_rpc_error
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.keys_file import written_keys
from forebay_gateway.testing import serving
from tests.commands import run
from tests.harness import environment, eventually, forebay_gateway
from tests.protoc import descriptor_set
from tests.reports.running import REPORTS, ROOT, SERVICE, TIMEOUT_S, Reports
from tests.reports.v1 import reports_pb2 as pb
from tests.reports.v1.reports_pb2_grpc import ReportServiceStub
from tests.reports.worker import ReportServicer

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


def test_a_gateway_warns_if_its_operations_can_not_be_read(reports: Reports) -> None:
    beyond = ("--listen", "0.0.0.0:0", "--insecure")
    with forebay_gateway(*beyond, env=reports.env, cwd=ROOT) as (gateway, _):
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
