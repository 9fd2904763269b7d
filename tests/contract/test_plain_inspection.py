"""Wrong routes and settings of plain tasks are named by the gateway at its start and by doctor."""

from __future__ import annotations

import json
import re
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor

from forebay.v1 import route_pb2
from tests.commands import Ran, run
from tests.contract.plain_site import ROOT, PlainSite
from tests.harness import forebay_gateway
from tests.plain.v1 import plain_pb2


def forebay(command: str, plain: PlainSite, variables: dict[str, str]) -> Ran:
    """The command with the service of the variables; without `--service` it asks the gateway."""
    [service] = json.loads(variables["FOREBAY_SERVICES"])
    arguments = ["--listen", plain.address, "--service", service]
    return run("forebay", command, *arguments, env=plain.env | variables, cwd=ROOT)


def _service(folder: Path, task: str = "plain.add", queue: str = "plain") -> dict[str, str]:
    """The variable for a descriptor set with the methods Add, of `task`, and Subtract."""
    file = _proto(plain_pb2.DESCRIPTOR)
    by_name = {method.name: method for method in file.service[0].method}
    for name in by_name.keys() - {"Add", "Subtract"}:
        file.service[0].method.remove(by_name[name])
    by_name["Add"].options.Extensions[route_pb2.route].task = task
    by_name["Subtract"].options.Extensions[route_pb2.route].queue = queue
    dependencies = [_proto(one) for one in _dependencies(plain_pb2.DESCRIPTOR)]
    whole = descriptor_pb2.FileDescriptorSet(file=[*dependencies, file])
    path = folder / "service.binpb"
    path.write_bytes(whole.SerializeToString())
    return {"FOREBAY_SERVICES": f'["{path}"]'}


def _dependencies(file: FileDescriptor) -> list[FileDescriptor]:
    found = [one for each in file.dependencies for one in (*_dependencies(each), each)]
    return list({one.name: one for one in found}.values())


def _proto(file: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)


def test_doctor_and_routes_show_the_workers_of_the_application(
    plain: PlainSite, tmp_path: Path
) -> None:
    well = _service(tmp_path)
    assert (
        "ok      queue plain: 2 tasks at a time" in forebay("doctor", plain, well).succeeded().out
    )
    rows = [
        line.split("\t") for line in forebay("routes", plain, well).succeeded().out.splitlines()
    ]
    assert [(row[2], *row[5:]) for row in rows[1:]] == [("plain", "2", "none")] * 2


def test_doctor_and_a_starting_gateway_name_wrong_routes_and_a_wrong_result_url(
    plain: PlainSite, tmp_path: Path
) -> None:
    wrong_url = "redis://127.0.0.1:1/9" if plain.is_rpc else "rpc://"
    wrong = _service(tmp_path, task="plain.ad", queue="plian") | {"FOREBAY_RESULT_URL": wrong_url}
    said = [
        r"method tests.plain.v1.PlainService.Add: \S+ consumes queue 'plain' without task "
        r"'plain.ad' \(did you mean 'plain.add'",
        r"method tests.plain.v1.PlainService.Subtract: no worker that answers Celery's inspect "
        r"consumes queue 'plian' \(live workers consume .*'plain'",
        f"keeps results in {plain.env['PLAIN_RESULT_BACKEND']}.*; this gateway reads {wrong_url}",
    ]
    with forebay_gateway(env=plain.env | wrong, cwd=ROOT) as (gateway, _):
        found = forebay("doctor", plain, wrong)
        assert found.code == 1
        for pattern in said:
            assert re.search(pattern, found.out), found.out
            gateway.wait_for(pattern.removeprefix("method "), 30.0)


def test_routes_of_a_gateway_without_a_ledger_have_the_workers_of_the_settings(
    plain: PlainSite, tmp_path: Path
) -> None:
    env = plain.env | {"FOREBAY_SERVICES": '["no.such.module"]'}
    listed = run("forebay", "routes", "--target", plain.address, env=env, cwd=tmp_path).succeeded()
    rows = {row[0]: row for row in (line.split("\t") for line in listed.out.splitlines())}
    assert rows["tests.plain.v1.PlainService.Subtract"][2:] == [
        "plain",
        "plain task, runs once",
        "tests.plain.v1.PlainService.Subtract",
        "2",
        "none",
    ]
    assert "what it did not say is from the settings" in listed.err


def test_routes_name_a_wrong_task(plain: PlainSite, tmp_path: Path) -> None:
    listed = forebay("routes", plain, _service(tmp_path, task="plain.ad")).succeeded()
    assert "\t0\t" in listed.out
    assert "did you mean 'plain.add'" in listed.out
