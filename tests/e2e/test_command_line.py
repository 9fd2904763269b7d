"""`forebay call`, `routes` and `doctor`, as a shell runs them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.commands import Ran, run
from tests.conftest import Up
from tests.harness import environment, process
from tests.protoc import descriptor_set


def forebay(*arguments: str, env: dict[str, str], stdin: str = "") -> Ran:
    return run("forebay", *arguments, env=env, stdin=stdin)


def call(up: Up, *arguments: str, stdin: str = "") -> list[dict[str, object]]:
    done = forebay("call", "-t", up.address, *arguments, env=up.env, stdin=stdin)
    assert done.code == 0, done.err
    assert done.err == ""  # standard error is empty if it is not a terminal
    return [json.loads(line) for line in done.out.splitlines()]


def test_call_prints_each_response_as_a_line_of_json(up: Up) -> None:
    assert call(up, "Add", "x=4", "y=6") == [{"sum": 10.0}]
    assert call(up, "Add", "x=4", "y=-4") == [{"sum": 0.0}]
    header, digits = call(up, "Factorial", "n=25")
    assert digits == {"digits": "15511210043330985984000000"}
    assert header["header"]["digit_count"] == "26"  # type: ignore[index]


def test_call_sets_nested_fields_by_dots(up: Up) -> None:
    header, panel = call(
        up, "MatMul", "random.m=2", "random.n=3", "random.seed=7", "random.format=2"
    )
    assert header["header"] == {
        "dtype": "DATA_TYPE_FLOAT64",
        "rows": "2",
        "cols": "2",
        "seed": "7",
    }
    assert len(panel["panel"]["values"]) == 4  # type: ignore[index]


def test_call_takes_more_requests_from_standard_input(up: Up) -> None:
    one = "AAAAAAAA8D8="  # 1.0, little-endian, in base64
    _, panel = call(
        up,
        *["MatMul", "operands.left.rows=1", "operands.left.cols=1"],
        *["operands.right.rows=1", "operands.right.cols=1"],
        *["operands.format=PRODUCT_FORMAT_VALUES", "--requests", "-"],
        stdin=f'{{"left_chunk": "{one}"}}\n\n{{"right_chunk": "{one}"}}\n',
    )
    assert panel["panel"] == {"rows": "1", "values": [1.0]}


def test_call_names_and_resumes_a_call(up: Up) -> None:
    first = call(up, "Factorial", "n=30", "--id", "from-the-shell")
    assert (
        call(up, "Factorial", "n=30", "--id", "from-the-shell", "--resume-from", "1") == first[1:]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Factorial", "n=99999999"], "OUT_OF_RANGE/INVALID_REQUEST: n is 99999999, over"),
        (["Factorial", "n=-1"], "out of range"),
        (["Factorial", "m=1"], 'no field named "m" at "FactorialRequest". Its fields: n, '),
        (["Factorial", "n=1", "--timeout", "-1"], "'--timeout': -1.0 is not in the range x>0"),
        (["Factorial", "n=1", "--in", "5x"], "  forebay-start-after is --in\n"),
        (["Add", "--in", "5s"], "  forebay-call-id is --id, forebay-start-after is --in\n"),
        (["Add", "--detach"], "  forebay-on-disconnect is --detach\n"),
        (["Factorial", "n"], "expected FIELD=VALUE"),
        (["Divide"], "no such method; give one of: forebay.compute.v1.ComputeService.Add"),
        (["Add", "-H", "nonsense"], "expected KEY:VALUE"),
        (["Add", "--trace", "-H", "traceparent:1"], "is not a W3C trace context"),
        (["Add", "--service", "no.such.module"], "expected a compiled protobuf module"),
        (["MatMul", "--requests", "-"], "line 1"),
    ],
)
def test_call_reports_the_error(up: Up, arguments: list[str], said: str) -> None:
    done = forebay("call", "-t", up.address, *arguments, env=up.env, stdin="{nonsense")
    assert done.code in (1, 2)
    assert said in done.err
    assert "Traceback" not in done.err


def test_call_shortens_and_tells_times_on_a_terminal(up: Up) -> None:
    terminal, end = pty.openpty()
    shown = subprocess.Popen(
        ["forebay", "call", "-t", up.address, "Factorial", "n=1500000"],
        env={**up.env, "TERM": "xterm", "COLUMNS": "100"},
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    output = b""
    while True:
        try:
            output += os.read(terminal, 1 << 16)
        except OSError:  # Linux reports this when the last writer has closed the file
            break
    os.close(terminal)
    assert shown.wait(30) == 0
    text = output.decode()
    assert "262144 characters, sha256 " in text
    assert "attached new" in text


def test_routes_are_a_line_each_when_piped(up: Up) -> None:
    done = forebay("routes", env=up.env)
    header, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert header == ["method", "task", "queue", "policy", "requires", "consumers", "problems"]
    assert [row[1:3] for row in rows] == [
        ["add_module.tasks.add", "add"],
        ["factorial_module.tasks.factorial", "factorial"],
        ["mat_mul_module.tasks.mat_mul", "mat_mul"],
    ]
    assert all(int(row[5]) >= 1 for row in rows)
    assert [row[6] for row in rows] == ["none"] * 3
    assert [row[4] for row in rows] == [row[0] for row in rows]  # no route has a `requires`


def test_whoami_says_that_authentication_is_off(up: Up) -> None:
    subject, methods = forebay("whoami", "-t", up.address, env=up.env).out.splitlines()
    assert subject.split(maxsplit=1) == ["subject", "anyone: authentication is off"]
    assert methods.endswith("forebay.compute.v1.ComputeService.MatMul")


def test_doctor_finds_no_problem(up: Up) -> None:
    done = forebay("doctor", "--listen", up.address, env=up.env)
    assert done.code == 0, done.out
    assert done.out.count("ok ") == 6


def test_doctor_reports_what_is_missing_and_the_fix(tmp_path: Path) -> None:
    env = environment(FOREBAY_DATA_DIR=str(tmp_path))
    done = forebay("doctor", "--listen", "127.0.0.1:1", env=env)
    assert done.code == 1
    assert done.out.count("problem") == 4
    assert "fix: start `forebay up`" in done.out


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FOREBAY_LISTEN", "nowhere", "listen = 'nowhere': expected HOST:PORT"),
        ("FOREBAY_LISEN", "x", "FOREBAY_LISEN: no such setting"),
        (
            "FOREBAY_DATA_DIR",
            "~no-such-user/x",
            "data_dir = '~no-such-user/x': no user of this name",
        ),
        ("FOREBAY_SERVICES", '["no.such"]', "expected a compiled protobuf module"),
        ("FOREBAY_BROKER_URL", "ftp://x", "is not a Redis or Valkey URL"),
        (
            "FOREBAY_CHECKS",
            '{"forebay.compute.v1.ComputeService.Factorial": {"max_m": 3}}',
            "max_m",
        ),
    ],
)
def test_a_bad_setting_is_refused_with_what_was_expected(
    tmp_path: Path, variable: str, value: str, said: str
) -> None:
    env = environment(**{"FOREBAY_DATA_DIR": str(tmp_path), variable: value})
    done = forebay("gateway", env=env)
    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", ["gateway", "up"])
def test_a_home_that_cannot_be_written_is_said_so_with_the_setting_to_change(command: str) -> None:
    env = environment(HOME="/proc/no-such-home")
    env.pop("XDG_STATE_HOME", None)
    done = forebay(command, "--listen", "127.0.0.1:0", env=env)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("Error: data_dir = /proc/no-such-home/.local/state/forebay: ")
    assert "set data_dir (FOREBAY_DATA_DIR or --data-dir)" in line


_BAD_BINDINGS = """
syntax = "proto3";
package shop;
import "forebay/v1/route.proto";
import "google/api/annotations.proto";
message Order { string id = 1; }
service Shop {
  rpc Sell(Order) returns (Order) {
    option (forebay.v1.route) = {task: "shop.sell", queue: "shop"};
    option (google.api.http) = {post: "/v1/{item}", additional_bindings: {get: "/v1/x"}};
  }
}
"""


def test_bad_bindings_to_http_are_reported_before_anything_starts(tmp_path: Path) -> None:
    service = str(descriptor_set(_BAD_BINDINGS, tmp_path))
    env = environment(FOREBAY_DATA_DIR=str(tmp_path / "data"))
    for command, *flags in (("gateway", "--web-listen", "127.0.0.1:0"), ("up",)):
        done = forebay(command, "--service", service, *flags, env=env)
        assert done.code == 1
        first, *problems = done.err.splitlines()
        assert first == "Error: the services can't be served, for 2 reasons:"
        assert "has the variable item, but shop.Order has no field 'item'" in problems[0]
        assert "lets GET call a method that may have side effects" in problems[1]
    assert not (tmp_path / "data").exists()


def test_all_problems_of_the_services_are_reported_before_anything_starts(
    tmp_path: Path,
) -> None:
    garbage = tmp_path / "garbage.binpb"
    garbage.write_bytes(b"\xff")
    env = environment(FOREBAY_DATA_DIR=str(tmp_path / "data"))
    named = ["no.such", str(garbage), "forebay.v1.route_pb2"]
    sources = [word for name in named for word in ("--service", name)]
    for command in ("gateway", "up", "routes", "doctor"):
        done = forebay(command, *sources, env=env)
        assert done.code == 1
        first, *problems = done.err.splitlines()
        assert first == "Error: the services can't be served, for 3 reasons:"
        assert [line.split(":")[0].strip() for line in problems] == [
            f"services = {name!r}" for name in named
        ]
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_reported(up: Up, tmp_path: Path) -> None:
    done = forebay("gateway", "--listen", up.address, env=up.env)
    assert done.code == 1
    assert f"can't listen on {up.address}" in done.err
    assert "Traceback" not in done.err


def test_every_command_has_help(up: Up) -> None:
    for command in ("call", "doctor", "gateway", "protos", "routes", "up"):
        done = forebay(command, "--help", env=up.env)
        assert done.code == 0
        assert "Usage: forebay" in done.out


def test_ctrl_c_cancels_the_call(up: Up) -> None:
    with process("forebay", "call", "-t", up.address, "Factorial", "n=10000000", env=up.env) as run:
        run.wait_for("header")
        run.popen.send_signal(signal.SIGINT)
        assert run.ended() == 130
        assert "Traceback" not in run.output
    assert call(up, "Factorial", "n=3", "--timeout", "30")  # the one slot is free again
