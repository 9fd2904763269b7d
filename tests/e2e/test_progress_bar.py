"""The progress bar of `forebay call`, in a terminal of 80 columns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_reflection.v1alpha import reflection

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import (
    ComputeServiceServicer,
    add_ComputeServiceServicer_to_server,
)
from tests.harness import environment
from tests.terminal import in_terminal

BAR = "━"
SERVICE = "forebay.compute.v1.ComputeService"


class Slow(ComputeServiceServicer):
    """A server that answers when it is told to, with progress before and after."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def Add(self, request: pb.AddRequest, context: object) -> pb.AddResponse:  # noqa: N802
        self.go_on.wait(30)
        return pb.AddResponse(sum=request.x + request.y)

    def Factorial(  # noqa: N802
        self, request: pb.FactorialRequest, context: object
    ) -> Iterator[pb.FactorialResponse]:
        yield pb.FactorialResponse(progress=pb.Progress(fraction=0.5))
        self.go_on.wait(30)
        yield pb.FactorialResponse(header=pb.IntegerHeader(digit_count=1))
        yield pb.FactorialResponse(progress=pb.Progress(fraction=0.75))
        yield pb.FactorialResponse(digits="6")


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def address(slow: Slow) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    add_ComputeServiceServicer_to_server(slow, server)
    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    slow.go_on.set()
    server.stop(None).wait()


def test_a_stream_has_a_bar_until_its_first_response(slow: Slow, address: str) -> None:
    with in_terminal("forebay", "call", "-t", address, "Factorial", "n=3", env=environment()) as t:
        before = ""
        while "50%" not in before:
            before += t.read()
        assert BAR in before
        assert "Factorial" in before
        slow.go_on.set()
        after = "".join(iter(t.read, ""))
        assert t.process.wait(30) == 0
    *_, last_of_bar = (before + after).partition('{"header"')[0].split(BAR)
    assert "\x1b[2K" in last_of_bar  # the line is erased before the output starts
    output = after.partition('{"header"')[2]
    assert '{"digits": "6"}' in output
    assert BAR not in output
    assert "%" not in output


def test_a_unary_call_has_no_bar(slow: Slow, address: str) -> None:
    with in_terminal("forebay", "call", "-t", address, "Add", "x=1", env=environment()) as t:
        threading.Timer(1.5, slow.go_on.set).start()
        text = "".join(iter(t.read, ""))
        assert t.process.wait(30) == 0
    assert '{"sum": 1.0}' in text
    assert BAR not in text


def test_the_bar_is_gone_before_an_error(slow: Slow, address: str) -> None:
    words = ("forebay", "call", "-t", address, "Factorial", "n=3", "--timeout", "3")
    with in_terminal(*words, env=environment()) as t:
        text = "".join(iter(t.read, ""))
        assert t.process.wait(30) == 1
    assert BAR in text
    assert BAR not in text.partition("Error")[2]
