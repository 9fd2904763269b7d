"""A gateway and a worker of EchoService, each with its own connection to the backends."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forebay.errors import ForebayError
from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.keys import CallKey
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, environment, forebay_gateway, narrow_channel, process

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 90.0
CALL_ID = "forebay-call-id"


class Gateway:
    """A gateway that serves EchoService, and a channel to it."""

    def __init__(self, process: Process, address: str, channel: grpc.Channel) -> None:
        self.process = process
        self.address = address
        self.channel = channel
        self.stub = EchoServiceStub(channel)

    def serving(self) -> bool:
        """Whether its health is SERVING."""
        health = health_pb2_grpc.HealthStub(self.channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def draining(self) -> bool:
        """Whether its health is NOT_SERVING, or its port closed already."""
        try:
            return not self.serving()
        except grpc.RpcError as error:
            # gRPC cancels a call that crosses the GOAWAY; later ones find the port closed.
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                return True
            raise


@contextlib.contextmanager
def gateway(**variables: str) -> Iterator[Gateway]:
    """A gateway by these settings."""
    env = environment(
        **{"FOREBAY_SERVICES": '["tests.echo.v1.echo_pb2"]', "FOREBAY_DRAIN_S": "0"} | variables
    )
    with (
        forebay_gateway(env=env, cwd=ROOT) as (running, address),
        narrow_channel(address) as channel,
    ):
        yield Gateway(running, address, channel)


@contextlib.contextmanager
def worker(pool: str = "threads", **variables: str) -> Iterator[Process]:
    """A worker by these settings, with eight slots."""
    command = ["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"]
    options = ["--pool", pool, "--concurrency", "8", "--without-mingle", "--without-gossip"]
    with process(*command, *options, env=environment(**variables), cwd=ROOT) as child:
        child.wait_for(r" ready\.")
        yield child


def named(call_id: str, seen: int = 0) -> Sequence[tuple[str, str]]:
    """The metadata of a call with that id whose caller has received that many items."""
    return [(CALL_ID, call_id), *([("forebay-resume-from", str(seen))] if seen else [])]


def id_of(call: Any) -> str:
    """The call's id."""
    return str(dict(call.initial_metadata())[CALL_ID])


def slow(count: int, seconds: float = 0.05, **more: Any) -> EchoRequest:
    """A request for that many items, with a sleep before each."""
    return EchoRequest(text="slow", count=count, seconds=seconds, **more)


def error_of(call: Any) -> ForebayError:
    """The error that a call ends with; fails if it ends with OK. Reads no responses."""
    error = call.exception(TIMEOUT_S)
    assert error is not None, "the call ended with OK"
    return of_rpc_error(error)


def rest_and_error(stream: Any) -> tuple[list[EchoResponse], ForebayError]:
    """The remaining responses of a stream, and the error that it ends with."""
    rest = []
    try:
        for response in stream:
            rest.append(response)
    except grpc.RpcError as error:
        return rest, of_rpc_error(error)
    raise AssertionError("the stream ended with OK")


def indexes(responses: Sequence[EchoResponse]) -> list[int]:
    """The indexes of the stored items among the responses."""
    return [response.index for response in responses if response.WhichOneof("part") == "text"]


def take(call: Any, count: int) -> list[EchoResponse]:
    """The next `count` stored items of a stream."""
    taken: list[EchoResponse] = []
    while len(taken) < count:
        response = next(call)
        if response.WhichOneof("part") == "text":
            taken.append(response)
    return taken


def begun(worker: Process, call_id: str) -> int:
    """How often the worker has begun the call; its log may be later than the response."""
    taken_up = f"[{CallKey(call_id).task_id}] received"
    worker.wait_for(re.escape(taken_up))
    return worker.output.count(taken_up)
