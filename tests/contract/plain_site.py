"""An existing Celery application with a worker, and a gateway that serves only its plain tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from forebay.errors import ForebayError
from forebay.rpc_errors import of_rpc_error
from tests.harness import Process, environment, forebay_gateway, process
from tests.plain.v1 import plain_pb2 as pb
from tests.plain.v1.plain_pb2_grpc import PlainServiceStub

ROOT = Path(__file__).parents[2]
CONFIGURATIONS = (
    "rabbitmq+rpc",
    pytest.param("redis+rpc", marks=pytest.mark.variant),
    "redis+redis",
)
"""The tutorial's pairs of broker and result backend."""


@dataclass(frozen=True)
class PlainSite:
    """A worker, a gateway, and a stub for it."""

    env: dict[str, str]
    worker: Process
    gateway: Process
    address: str
    stub: PlainServiceStub

    @property
    def web(self) -> str:
        """The gateway's URL for browsers."""
        return self.gateway.wait_for(r"serves browsers on (\S+)")[1]

    @property
    def is_rpc(self) -> bool:
        """Whether results come through the reply queue."""
        return self.env["FOREBAY_RESULT_URL"] == "rpc://"


def backends_of(configuration: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """The URLs of broker and result backend, for the application and for the gateway."""
    if configuration.startswith("rabbitmq"):
        broker = request.getfixturevalue("rabbitmq").url("plain")
    else:
        broker = f"{request.getfixturevalue('redis_url')}4"
    result = "rpc://"
    if configuration.endswith("redis"):
        result = f"{request.getfixturevalue('redis_url')}5"
    return {
        "PLAIN_BROKER_URL": broker,
        "PLAIN_RESULT_BACKEND": result,
        "FOREBAY_BROKER_URL": broker,
        "FOREBAY_RESULT_URL": result,
        "FOREBAY_SERVICES": '["tests.plain.v1.plain_pb2"]',
        "FOREBAY_DRAIN_S": "0.2",
    }


@contextmanager
def plain_worker(env: dict[str, str], *arguments: str) -> Iterator[Process]:
    """Starts a worker of the application; returns when it is ready."""
    command = ["celery", "-A", "tests.plain.app", "worker", "-Q", "plain", "-l", "INFO"]
    with process(*command, "--without-mingle", *arguments, env=env, cwd=ROOT) as worker:
        worker.wait_for(r" ready\.")
        yield worker


@contextmanager
def plain_site(variables: dict[str, str]) -> Iterator[PlainSite]:
    """Starts a worker and a gateway."""
    env = environment(**variables)
    with (
        plain_worker(env, "--concurrency", "2") as worker,
        forebay_gateway("--web-listen", "127.0.0.1:0", env=env, cwd=ROOT) as (gateway, address),
        grpc.insecure_channel(address) as channel,
    ):
        yield PlainSite(env, worker, gateway, address, PlainServiceStub(channel))


def wish(what: str, value: Any = None) -> pb.DoRequest:
    """A request of `Do` and similar methods."""
    request = pb.DoRequest(what=what)
    ParseDict(value, getattr(request, "with"))
    return request


def error_of(call: Any) -> ForebayError:
    """The error that a call ends with."""
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return of_rpc_error(failed.value)
