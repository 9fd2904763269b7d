"""What `forebay up` says once it is ready."""

from __future__ import annotations

from forebay.compute.v1 import compute_pb2
from forebay.routes import read_methods
from forebay_gateway.cli.greeting import greeting, sample_call
from tests.echo.v1 import echo_pb2
from tests.plain.v1 import plain_pb2

COMPUTE = read_methods([compute_pb2.DESCRIPTOR.services_by_name["ComputeService"]])
ECHO = read_methods([echo_pb2.DESCRIPTOR.services_by_name["EchoService"]])
PLAIN = read_methods([plain_pb2.DESCRIPTOR.services_by_name["PlainService"]])


def test_the_lines_fit_a_terminal_of_80_columns() -> None:
    text = greeting(COMPUTE, "127.0.0.1:50051")
    assert text.splitlines() == [
        "  serves forebay.compute.v1.ComputeService: Add, Factorial, MatMul",
        "  try, in another terminal:",
        "    forebay call Add x=1 y=2",
        "    forebay ps",
        "  Ctrl-C stops everything",
    ]
    assert max(map(len, text.splitlines())) <= 80


def test_commands_name_an_address_that_is_not_the_default() -> None:
    text = greeting(COMPUTE, "127.0.0.1:4000", ".venv/bin/forebay")
    assert "    .venv/bin/forebay call -t 127.0.0.1:4000 Add x=1 y=2\n" in text
    assert "    .venv/bin/forebay ps -t 127.0.0.1:4000\n" in text
    assert "call -t 127.0.0.1:50051" in greeting(COMPUTE, "127.0.0.1:50051", names_address=True)


def test_callers_of_this_host_use_loopback_where_every_interface_is_served() -> None:
    for listen, target in (("0.0.0.0:4000", "127.0.0.1:4000"), ("[::]:4000", "[::1]:4000")):
        text = greeting(COMPUTE, listen)
        assert f"forebay call -t {target} Add" in text
        assert "forebay ps" not in text  # it is open on loopback only


def test_a_gateway_of_plain_tasks_has_no_calls_to_list() -> None:
    assert "forebay ps" not in greeting(PLAIN, "127.0.0.1:50051")


def test_the_example_is_a_unary_method_with_values_for_single_fields() -> None:
    assert sample_call(COMPUTE) == "Add x=1 y=2"
    assert sample_call(ECHO).startswith("Unary text=text")
    assert sample_call([method for method in COMPUTE if method.server_streaming]) == (
        "Factorial n=1"
    )
