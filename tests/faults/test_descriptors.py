"""A gateway without free file descriptors refuses new callers, and serves the others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest

from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.faults.backend import server
from tests.faults.echoes import ROOT, Gateway, named, worker
from tests.harness import environment, process

LIMIT = 400
CONNECTIONS = 600
TIMEOUT_S = 20.0


@contextmanager
def limited_gateway(**variables: str) -> Iterator[Gateway]:
    env = environment(FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]', **variables)
    command = ("forebay", "gateway", "--listen", "127.0.0.1:0")
    with process("prlimit", f"--nofile={LIMIT}:{LIMIT}", *command, env=env, cwd=ROOT) as running:
        address = running.wait_for(r"ready on (\S+)")[1]
        with grpc.insecure_channel(address) as channel:
            yield Gateway(running, address, channel)


def test_new_callers_are_refused_and_old_ones_served_while_descriptors_are_used_up() -> None:
    with ExitStack() as stack:
        ledger = stack.enter_context(server())
        serving = stack.enter_context(limited_gateway(FOREBAY_LEDGER_URL=ledger.url))
        stack.enter_context(worker(FOREBAY_LEDGER_URL=ledger.url))
        assert serving.stub.Quick(EchoRequest(text="a"), timeout=TIMEOUT_S).text == "a"
        host, _, port = serving.address.rpartition(":")
        connections = stack.enter_context(ExitStack())
        for _ in range(CONNECTIONS):
            connection = connections.enter_context(socket.socket())
            connection.connect((host, int(port)))
        serving.process.wait_for("new connections may be refused")
        assert serving.stub.Quick(EchoRequest(text="b"), timeout=TIMEOUT_S).text == "b"
        call = serving.stub.Unary(
            EchoRequest(text="c"), timeout=TIMEOUT_S, metadata=named("durable")
        )
        assert call.text == "c"
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(serving.address, options=options) as new:
            with pytest.raises(grpc.RpcError) as raised:
                EchoServiceStub(new).Quick(EchoRequest(text="d"), timeout=TIMEOUT_S)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        connections.close()
        serving.process.wait_for("there are file descriptors for connections again")
        with grpc.insecure_channel(serving.address, options=options) as new:
            assert EchoServiceStub(new).Quick(EchoRequest(text="e"), timeout=TIMEOUT_S).text == "e"
    assert serving.process.output.count("new connections may be refused") == 1
