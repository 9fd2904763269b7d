"""The client in clients/node, installed from its lock file and run with Node."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.commands import Ran, run
from tests.conftest import Up
from tests.e2e.conftest import MutualTls
from tests.harness import environment, free_port

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "clients" / "node"
TIMES = {"forebay-queue-ms", "forebay-run-ms", "forebay-attempts"}


@pytest.fixture(scope="session")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed client, in a copy, so that the tree stays as it is."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        absent = f"{' and '.join(missing)} not found: the Node client is not tested"
        pytest.fail(absent) if os.environ.get("CI") else pytest.skip(absent)
    root = tmp_path_factory.mktemp("node")
    client = root / "clients" / "node"
    shutil.copytree(SOURCE, client, ignore=shutil.ignore_patterns("node_modules"))
    (root / "protos").symlink_to(ROOT / "protos")
    run(
        *["npm", "ci", "--prefix", str(client), "--silent", "--no-audit", "--no-fund"],
        *["--prefer-offline", "--ignore-scripts"],
        env=environment(),
    ).succeeded()
    return client


def node(client: Path, *arguments: str) -> Ran:
    """`node client.mjs` with the arguments."""
    return run("node", "client.mjs", *arguments, env=environment(), cwd=client)


@pytest.fixture(scope="session")
def steps(node_client: Path, up: Up) -> dict[str, list[dict[str, Any]]]:
    """The output of each step, from one run of all steps."""
    printed = node(node_client, up.address).succeeded()
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in map(json.loads, printed.out.splitlines()):
        lines[line["step"]].append(line)
    return dict(lines)


def result(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The last line of a step; all lines before it are progress."""
    *progress, last = lines
    for line in progress:
        assert 0 <= line["fraction"] <= 1
        assert line["stage"]
    return last


def test_the_readme_names_the_steps(steps: dict[str, list[dict[str, Any]]]) -> None:
    listed = re.findall(r"^\| `(\S+)`", (SOURCE / "README.md").read_text(), re.MULTILINE)
    assert listed == list(steps)


def test_add_prints_the_calls_metadata(steps: dict[str, list[dict[str, Any]]]) -> None:
    [line] = steps["add"]
    assert line["sum"] == 10
    assert line["metadata"]["initial"] == {}
    assert line["metadata"]["trailing"].keys() == {"forebay-call-id", *TIMES}


def test_add_under_an_id_attaches_the_second_time(steps: dict[str, list[dict[str, Any]]]) -> None:
    first, second = steps["add-durable"]
    assert first["sum"] == second["sum"] == 10
    new, finished = first["metadata"]["initial"], second["metadata"]["initial"]
    assert new["forebay-call-id"] == finished["forebay-call-id"]
    assert (new["forebay-attached"], finished["forebay-attached"]) == ("new", "finished")
    assert first["metadata"]["trailing"] == second["metadata"]["trailing"]


def test_factorial_is_exact(steps: dict[str, list[dict[str, Any]]]) -> None:
    line = result(steps["factorial"])
    number = math.factorial(20000)
    digits = str(Decimal(number))  # Python's own conversion stops at 4,300 digits
    assert line["header"] == {
        "bit_length": str(number.bit_length()),
        "digit_count": str(len(digits)),
        "byte_count": str((number.bit_length() + 7) // 8),
    }
    assert line["ends"] == [digits[:12], digits[-12:]]
    assert line["sha256"] == hashlib.sha256(digits.encode()).hexdigest()
    assert line["metadata"]["initial"]["forebay-attached"] == "new"
    assert line["metadata"]["trailing"].keys() == TIMES


def test_a_random_product_is_the_same_as_in_python(
    steps: dict[str, list[dict[str, Any]]], stub: ComputeServiceStub
) -> None:
    line = result(steps["matmul-random"])
    random = pb.RandomOperands(m=20, n=20, seed=7)
    responses = stub.MatMul(iter([pb.MatMulRequest(random=random)]), timeout=30)
    product = b"".join(response.panel.data for response in responses)
    assert (line["header"]["rows"], line["header"]["cols"]) == ("20", "20")
    assert line["header"]["seed"] == "7"
    assert line["sha256"] == hashlib.sha256(product).hexdigest()


def test_own_operands_sent_as_chunks_are_multiplied(steps: dict[str, list[dict[str, Any]]]) -> None:
    line = result(steps["matmul-own"])
    assert line["rows"] == [[58, 64], [139, 154]]
    assert line["header"] == {"dtype": "DATA_TYPE_FLOAT64", "rows": "2", "cols": "2"}


def test_a_bad_request_is_printed_with_its_details(steps: dict[str, list[dict[str, Any]]]) -> None:
    [line] = steps["error"]
    error = line["error"]
    assert error["code"] == "OUT_OF_RANGE"
    info, bad = error["details"]
    assert info == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "domain": "forebay",
        "reason": "INVALID_REQUEST",
    }
    assert bad["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    [violation] = bad["field_violations"]
    assert violation["field"] == "n"
    assert error["message"] == f"n {violation['description']}"


def test_a_running_call_can_be_cancelled(steps: dict[str, list[dict[str, Any]]]) -> None:
    assert len(steps["cancel"]) > 1, "no progress before the end"
    assert result(steps["cancel"])["error"]["code"] == "CANCELLED"


def test_a_deadline_ends_the_call(steps: dict[str, list[dict[str, Any]]]) -> None:
    assert result(steps["deadline"])["error"]["code"] == "DEADLINE_EXCEEDED"


def test_some_steps_can_be_run_alone(node_client: Path, up: Up) -> None:
    printed = node(node_client, up.address, "matmul-own", "add").succeeded()
    assert [line["step"] for line in printed.messages if "metadata" in line] == [
        "matmul-own",
        "add",
    ]


def test_an_unavailable_gateway_is_reported_in_one_line(node_client: Path) -> None:
    printed = node(node_client, f"127.0.0.1:{free_port()}", "add")
    assert (printed.code, printed.out) == (1, "")
    assert json.loads(printed.err)["code"] == "UNAVAILABLE"


@pytest.mark.parametrize("arguments", [[], ["127.0.0.1:1", "no-such-step"]])
def test_wrong_arguments_print_the_usage(node_client: Path, arguments: list[str]) -> None:
    printed = node(node_client, *arguments)
    assert (printed.code, printed.out) == (2, "")
    assert printed.err.startswith("usage: node client.mjs HOST:PORT [add|")


def test_the_lock_file_has_hashes_and_no_addresses_of_packages() -> None:
    packages = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    named = {name: package for name, package in packages.items() if name}
    assert named
    assert all(package["integrity"].startswith("sha512-") for package in named.values())
    assert not any("resolved" in package for package in packages.values())


def test_it_calls_a_gateway_that_requires_certificates(
    mutual: MutualTls, node_client: Path
) -> None:
    command = ("node", "client.mjs", mutual.address, "add")
    ran = run(*command, env=environment(**mutual.variables), cwd=node_client).succeeded()
    assert json.loads(ran.out)["step"] == "add"
    refused = run(*command, env=environment(), cwd=node_client)
    assert "UNAVAILABLE" in refused.out + refused.err
