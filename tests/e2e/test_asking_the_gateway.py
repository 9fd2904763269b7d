"""Commands know the services of the gateway that they address; then those of the settings.

The gateway serves EchoService; the commands run in a folder and an environment without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.commands import run
from tests.e2e.conftest import Site
from tests.e2e.elsewhere import Elsewhere, elsewhere
from tests.e2e.known_calls import new_id
from tests.echo.running import ROOT
from tests.harness import environment, forebay_gateway, free_port
from tests.protoc import descriptor_set
from tests.proxies import proxy

__all__ = ("elsewhere",)

ECHO = "tests.echo.v1.EchoService"
ECHO_PROTO = Path(__file__).parents[1] / "echo" / "v1" / "echo.proto"


def test_call_knows_the_methods_of_the_gateway(elsewhere: Elsewhere) -> None:
    called = elsewhere.run("call", "ServerStream", "text=hello", "count=2").succeeded()
    assert [message["text"] for message in called.messages] == ["hello", "hello"]
    assert called.err == ""


def test_call_lists_the_methods_of_the_gateway(elsewhere: Elsewhere) -> None:
    ran = elsewhere.run("call", "Divide")
    assert ran.code == 1
    assert "Error: Divide: no such method; give one of: " in ran.err
    assert f"{ECHO}.ServerStream" in ran.err
    assert "forebay.compute.v1.ComputeService.Add" in ran.err
    assert "Reflection" not in ran.err


def test_describe_shows_the_messages_of_the_gateway(elsewhere: Elsewhere) -> None:
    shown = elsewhere.run("describe", "Quick").succeeded().out
    declared = f"rpc {ECHO}.Quick(tests.echo.v1.EchoRequest) returns (tests.echo.v1.EchoResponse);"
    assert shown.startswith(declared)
    assert "message tests.echo.v1.EchoRequest {\n  string text = 1;\n" in shown


def test_logs_and_ps_decode_the_messages_of_the_gateway(elsewhere: Elsewhere) -> None:
    call_id = new_id()
    arguments = ["text=hello", "count=3", "--id", call_id]
    called = elsewhere.run("call", "ServerStream", *arguments).succeeded()
    assert elsewhere.run("logs", call_id).succeeded().out == called.out
    [row] = [row for row in elsewhere.run("ps").succeeded().out.splitlines() if call_id in row]
    assert f"{ECHO}.ServerStream\tSUCCEEDED" in row


@pytest.mark.parametrize("arguments", [["--service", "no.such.module"], []])
def test_services_that_are_given_win_over_those_of_the_gateway_and_settings_do_not(
    elsewhere: Elsewhere, arguments: Sequence[str]
) -> None:
    (elsewhere.folder / "forebay.toml").write_text('services = ["also.no.such"]')
    ran = elsewhere.run(
        "call", "Unary", "text=x", *arguments, FOREBAY_SERVICES='["no.such.either"]'
    )
    if arguments:
        assert ran.code == 1
        assert "--service = 'no.such.module': expected a compiled protobuf module" in ran.err
    else:
        assert ran.succeeded().messages[0]["text"] == "x"


def test_routes_are_those_of_the_gateway_with_its_workers(elsewhere: Elsewhere) -> None:
    ran = elsewhere.run("routes", "--json").succeeded()
    assert ran.err == ""
    routes = {route["method"]: route for route in ran.messages}
    echo = routes[f"{ECHO}.Unary"]
    assert (echo["task"], echo["queue"], echo["consumers"]) == ("echo.unary", "echo", 4)
    assert (echo["policy"], echo["problems"]) == ("durable, runs once", [])
    assert echo["requires"] == f"{ECHO}.Unary"
    assert echo["workers"]
    assert routes["forebay.compute.v1.ComputeService.Add"]["consumers"] == 1
    assert f"{ECHO}.Unrouted" not in routes


def test_options_for_settings_show_the_routes_of_these_settings(elsewhere: Elsewhere) -> None:
    arguments = ["--service", "forebay.compute.v1.compute_pb2", "--json"]
    ran = elsewhere.run("routes", *arguments, FOREBAY_DATA_DIR=str(elsewhere.folder))
    [add, *_] = ran.succeeded().messages
    assert add["method"] == "forebay.compute.v1.ComputeService.Add"
    assert add["consumers"] is None
    assert add["problems"][0]["description"] == "the ledger does not answer"


def test_doctor_examines_what_the_gateway_serves(elsewhere: Elsewhere, site: Site) -> None:
    ran = elsewhere.run("doctor", "--json", FOREBAY_LEDGER_URL=site.url).succeeded()
    found = {finding["subject"]: finding for finding in ran.messages}
    assert found["queue echo"]["description"] == "4 calls at a time"
    assert found["gateway"]["description"] == f"{elsewhere.address}, SERVING"
    assert {"ledger", "broker", "queue add"} <= found.keys()
    assert all(finding["good"] and not finding["fix"] for finding in found.values())


@pytest.mark.variant
def test_doctor_reports_what_only_the_gateway_knows_to_be_wrong(
    elsewhere: Elsewhere, site: Site
) -> None:
    env = {**site.env, "FOREBAY_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0"}
    with forebay_gateway(env=env, cwd=ROOT) as (_, address):
        ran = elsewhere.run("doctor", "-t", address, FOREBAY_LEDGER_URL=site.url)
    assert ran.code == 1
    assert "ok      broker: " in ran.out
    assert ran.out.count("problem broker: does not answer (the gateway says so)") == 1
    assert "        fix: start it, or correct FOREBAY_BROKER_URL" in ran.out
    assert "problem queue " not in ran.out


def test_doctor_tells_problems_of_other_settings_from_those_of_the_gateway(
    elsewhere: Elsewhere,
) -> None:
    ran = elsewhere.run("doctor", FOREBAY_DATA_DIR=str(elsewhere.folder))
    assert ran.code == 1
    assert "problem ledger: " in ran.out
    assert (
        "if the gateway has other settings than these, name its file in FOREBAY_CONFIG" in ran.out
    )
    assert f"ok      gateway: {elsewhere.address}, SERVING" in ran.out
    assert "ok      queue echo: 4 calls at a time" in ran.out


def test_commands_address_the_gateway_of_the_settings_file(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    port = elsewhere.address.rpartition(":")[2]
    (tmp_path / "forebay.toml").write_text(f'listen = "0.0.0.0:{port}"\ndata_dir = "data"')
    env = environment()
    for command in (["call", "Unary", "text=x"], ["ps"], ["queues"], ["routes"]):
        ran = run("forebay", *command, env=env, cwd=tmp_path).succeeded()
        assert ran.err == ""
    doctor = run("forebay", "doctor", env=env, cwd=tmp_path)
    assert f"gateway: 127.0.0.1:{port}, SERVING" in doctor.out


def test_without_a_gateway_routes_and_doctor_read_the_settings_file(tmp_path: Path) -> None:
    settings = 'services = ["forebay.compute.v1.compute_pb2"]\ndata_dir = "data"'
    (tmp_path / "forebay.toml").write_text(settings)
    env = environment(FOREBAY_ADDRESS="127.0.0.1:1")
    ran = run("forebay", "routes", env=env, cwd=tmp_path).succeeded()
    assert ran.err == (
        "no gateway answers at 127.0.0.1:1: Connection refused; "
        "what it did not say is from the settings\n"
    )
    assert "ComputeService.Add\tadd_module.tasks.add\tadd\t" in ran.out
    doctor = run("forebay", "doctor", env=env, cwd=tmp_path)
    assert "gateway: 127.0.0.1:1 does not answer: Connection refused" in doctor.out


def test_a_gateway_without_call_service_tells_its_methods_by_reflection(
    site: Site, elsewhere: Elsewhere
) -> None:
    gateway = site.gateway("0.0.0.0:0", "--insecure")  # CallService is for loopback addresses only
    target = f"127.0.0.1:{gateway.address.rpartition(':')[2]}"
    called = elsewhere.run("call", "Unary", "text=x", "--target", target)
    assert called.succeeded().messages[0]["text"] == "x"
    settings = {"FOREBAY_LEDGER_URL": site.url}
    routes = elsewhere.run("routes", "--target", target, **settings).succeeded()
    assert "METHOD_UNKNOWN: forebay.v1.CallService is open only where" in routes.err
    assert "what it did not say is from the settings" in routes.err
    row = [
        f"{ECHO}.Unary",
        "echo.unary",
        "echo",
        "durable, runs once",
        f"{ECHO}.Unary",
        "4",
        "none",
    ]
    assert "\t".join(row) in routes.out.splitlines()
    doctor = elsewhere.run("doctor", "--target", target, **settings).succeeded()
    assert "queue echo: 4 calls at a time" in doctor.out
    gateway.end()


@pytest.fixture
def unreflecting(elsewhere: Elsewhere) -> Iterator[Elsewhere]:
    """The same gateway, behind a proxy that keeps reflection from callers."""
    with proxy("nginx", [elsewhere.address], refused="/grpc.reflection.") as elsewhere.address:
        yield elsewhere


def test_without_reflection_commands_know_the_services_of_the_settings(
    unreflecting: Elsewhere,
) -> None:
    call_id = new_id()
    called = unreflecting.run("call", "Factorial", "n=25", "--id", call_id).succeeded()
    assert called.messages[1] == {"digits": "15511210043330985984000000"}
    assert unreflecting.run("logs", call_id).succeeded().out == called.out
    [row] = [row for row in unreflecting.run("ps").succeeded().out.splitlines() if call_id in row]
    assert "ComputeService.Factorial\tSUCCEEDED" in row


def test_without_reflection_methods_that_the_settings_lack_are_unknown(
    unreflecting: Elsewhere,
) -> None:
    call_id = new_id()
    ran = unreflecting.run("call", "ServerStream", "text=x", "count=1", "--id", call_id)
    assert ran.code == 1
    assert "ServerStream: no such method; give one of: forebay.compute.v1." in ran.err
    service = str(descriptor_set(ECHO_PROTO.read_text(), unreflecting.folder))
    words = ("ServerStream", "text=x", "count=1", "--id", call_id, "--service", service)
    called = unreflecting.run("call", *words).succeeded()
    assert called.messages[0]["text"] == "x"
    undecoded = unreflecting.run("logs", call_id).succeeded().messages
    assert undecoded != called.messages
    assert unreflecting.run("logs", call_id, "--service", service).out == called.out
