"""A gateway whose callers have API keys of several tenants, a worker of EchoService, and stubs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.keys_file import written_keys
from tests.echo.running import ROOT, echo_environment, echo_worker
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, forebay_gateway, redis_server

TIMEOUT_S = 30.0
_SETTINGS = """\
[[auth.keys]]
file = "{keys}"
[roles]
caller = ["tests.echo.v1.*", "forebay.calls.read", "forebay.calls.cancel", "forebay.calls.delete"]
operator = ["forebay.calls.*"]
viewer = ["forebay.calls.queues"]
"""
_CALLERS = {
    "acme": ("acme", ("caller",)),
    "umbrella": ("umbrella", ("caller",)),
    "operator": ("ops", ("operator",)),
    "viewer": ("ops", ("viewer",)),
}


class Caller:
    """A caller's stubs, which send its token and, if it is given one, a call id."""

    def __init__(self, channel: grpc.Channel, token: str) -> None:
        self.token = token
        self.echo = EchoServiceStub(channel)
        self.operations: Any = operations_pb2_grpc.OperationsStub(channel)
        self.calls = CallServiceStub(channel)

    def options(self, call_id: str | None = None, **more: str) -> dict[str, Any]:
        """Keyword arguments of an RPC; `more` is request metadata, with `_` for `-`."""
        named = [] if call_id is None else [("forebay-call-id", call_id)]
        pairs = [(key.replace("_", "-"), value) for key, value in more.items()]
        metadata = [("authorization", f"Bearer {self.token}"), *named, *pairs]
        return {"metadata": metadata, "timeout": TIMEOUT_S}

    def listed(self, name: str = "", filter_text: str = "") -> set[str]:
        """The names of all operations in a collection."""
        request = operations_pb2.ListOperationsRequest(name=name, filter=filter_text)
        found: set[str] = set()
        while True:
            page = self.operations.ListOperations(request, **self.options())
            found |= {one.name for one in page.operations}
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found


def new_id() -> str:
    return f"nightly-{uuid.uuid4()}"


def get(caller: Caller, name: str) -> operations_pb2.Operation:
    found: operations_pb2.Operation = caller.operations.GetOperation(
        operations_pb2.GetOperationRequest(name=name), **caller.options()
    )
    return found


def texts(responses: Any) -> list[str]:
    return [one.text for one in responses]


@dataclass(frozen=True)
class Tenants:
    """Callers by their names, and what commands need to be one of them."""

    address: str
    env: dict[str, str]
    folder: Path
    acme: Caller
    umbrella: Caller
    operator: Caller
    viewer: Caller
    worker: Process

    def token_file(self, caller: str) -> Path:
        return self.folder / f"{caller}.token"


@contextmanager
def running_tenants(folder: Path, **variables: str) -> Iterator[Tenants]:
    """Starts all of it; `variables` are more settings of gateway and worker."""
    tokens: dict[str, str] = {}
    keys = []
    for name, (tenant, roles) in _CALLERS.items():
        key, tokens[name] = new_key(tenant, roles, name, None)
        keys.append(key)
        _write(folder / f"{name}.token", tokens[name])
    _write(folder / "keys.toml", written_keys(keys))
    _write(folder / "forebay.toml", _SETTINGS.format(keys=folder / "keys.toml"))
    with ExitStack() as stack:
        url = stack.enter_context(redis_server())
        env = echo_environment(FOREBAY_LEDGER_URL=url, **variables)
        worker = stack.enter_context(echo_worker(env, slots=4))
        config = {**env, "FOREBAY_CONFIG": str(folder / "forebay.toml")}
        _, address = stack.enter_context(forebay_gateway(env=config, cwd=ROOT))
        channel = stack.enter_context(grpc.insecure_channel(address))
        callers = [Caller(channel, tokens[name]) for name in _CALLERS]
        yield Tenants(address, config, folder, *callers, worker)


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)
