"""Methods that return an operation, driven by commands: those of `forebay`, and grpcurl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from tests.commands import run
from tests.e2e.known_calls import new_id
from tests.harness import eventually, forebay_gateway, process
from tests.reports.running import ROOT, SERVICE, Reports
from tests.reports.v1 import reports_pb2 as pb


def test_commands_show_operations_as_calls(reports: Reports, gate: Path) -> None:
    call_id = new_id()
    fields = [f"request_id={call_id}", "title=sales", "pages=2", f"gate={gate}"]
    (started,) = reports.run("call", "Render", *fields).succeeded().messages
    assert started["name"] == f"operations/{call_id}"
    timed_out = reports.run("call", "Render", *fields, "--wait", "--timeout", "0.5")
    assert timed_out.code == 124
    assert f"operations/{call_id} is " in timed_out.err

    def listed(*options: str) -> dict[str, Any]:
        # Here and with these settings nothing but the gateway knows the messages.
        env = {name: value for name, value in reports.env.items() if name != "FOREBAY_SERVICES"}
        ran = run("forebay", "ps", "--json", *options, env=env, cwd=gate.parent)
        rows = ran.succeeded().messages
        (row,) = [row for row in rows if row["id"] == call_id]
        return dict(row)

    eventually(lambda: listed()["progress"] == 0.5, "its progress is listed")
    assert listed()["state"] == "RUNNING"
    assert listed("--service", "forebay.compute.v1.compute_pb2")["progress"] is None
    gate.touch()
    (report,) = reports.run("call", "Render", *fields, "--wait").succeeded().messages
    assert report == {"title": "sales", "pages": 2}
    assert "SUCCEEDED" in reports.run("wait", started["name"]).succeeded().out
    assert reports.run("logs", call_id).succeeded().messages == [report]
    failed = reports.run("call", "Render", "act=set code", "--wait")
    assert failed.code == 1
    assert "OUT_OF_RANGE" in failed.err


@pytest.mark.parametrize("timeout_s", [0.0001, 0.001])
def test_a_command_whose_operation_may_not_have_started_prints_its_id(
    reports: Reports, timeout_s: float
) -> None:
    """The deadline passes in the client, or in the gateway before the call has come in."""
    call_id = new_id()
    ran = reports.run("call", "Render", f"request_id={call_id}", "--timeout", str(timeout_s))
    assert ran.code == 1
    assert ran.err.startswith("Error: DEADLINE_EXCEEDED")
    assert f"  id: {call_id}\n" in ran.err


def test_a_command_that_waits_goes_on_at_another_gateway(reports: Reports, gate: Path) -> None:
    call_id = new_id()
    request = operations_pb2.GetOperationRequest(name=f"operations/{call_id}")
    with forebay_gateway(env=reports.env, cwd=ROOT) as (other, address):
        fields = [f"request_id={call_id}", "title=sales", "pages=2", f"gate={gate}"]
        targets = ["--target", f"{address},{reports.address}"]
        command = ["forebay", "call", "Render", *fields, "--wait", *targets]
        with process(*command, env=reports.env) as waiting:

            def runs() -> bool:
                try:
                    started = reports.operations.operations_stub.GetOperation(request)
                except grpc.RpcError:
                    return False
                return bool(started.metadata.value)

            eventually(runs, "it waits")
            other.popen.kill()
            other.popen.wait()
            gate.touch()
            assert waiting.ended() == 0
            assert json.loads(waiting.lines[-1]) == {"title": "sales", "pages": 2}


def test_grpcurl_reads_the_declared_messages(reports: Reports) -> None:
    request = json.dumps({"title": "sales", "pages": 1})

    def ask(text: str, method: str) -> dict[str, Any]:
        command = ["grpcurl", "-plaintext", "-d", text, reports.address, method]
        return dict(run(*command, env=reports.env).succeeded().messages[0])

    name = ask(request, f"{SERVICE}/Render")["name"]
    ended = ask(json.dumps({"name": name}), "google.longrunning.Operations/WaitOperation")
    assert ended["response"] == {
        "@type": f"type.googleapis.com/{pb.Report.DESCRIPTOR.full_name}",
        "title": "sales",
        "pages": 1,
    }
    assert ended["metadata"]["page"] == 1
