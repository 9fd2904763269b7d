"""A gateway with the operators' page, a worker of EchoService, and calls to look at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import grpc

from tests.e2e.known_calls import new_id
from tests.echo.running import ROOT, echo_environment
from tests.echo.v1 import echo_pb2 as pb
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually, forebay_gateway, free_port, process, redis_server
from tests.http_requests import Answer, ask

TIMEOUT_S = 60.0
_AT_ONCE = 64
_OPERATIONS = "google.longrunning.Operations"
SERVICE = "tests.echo.v1.EchoService"
WORKER = "echo-<b onclick=hacked=1>"
"""A name that is HTML; Celery takes any."""
HOSTILE = "<img src=x onerror='globalThis.hacked=1'>\"'</td><script>globalThis.hacked=1</script>"


@dataclass(frozen=True)
class Stack:
    """`address` speaks gRPC, `base` is the page's address without a slash at its end."""

    address: str
    base: str
    env: dict[str, str]
    gateway: Process
    echo: EchoServiceStub
    succeeded: str
    """The operation of a call with hostile texts in its items."""
    failed: str
    """The operation of a call with a hostile error."""
    began: list[str] = field(default_factory=list)
    """Operations of calls that may run for long."""

    def started(self, count: int, seconds: float = 300.0) -> list[str]:
        """Operations of calls that run or wait, until they are cancelled."""
        names = []
        for _ in range(count):
            call_id = new_id()
            request = pb.EchoRequest(text="long", count=1, act="sleep", seconds=seconds)
            self._detached(call_id, request)
            names.append(f"operations/{call_id}")
        return names

    @contextmanager
    def running(self, count: int) -> Iterator[list[str]]:
        """As `started`, until the block is left."""
        names = self.started(count)
        try:
            yield names
        finally:
            self.cancel(names)

    def cancel(self, names: Sequence[str]) -> None:
        for name in names:
            post(self.base, f"{_OPERATIONS}/CancelOperation", {"name": name})

    def accepted_at(self, name: str) -> datetime:
        found = post(self.base, f"{_OPERATIONS}/GetOperation", {"name": name}).json
        return datetime.fromisoformat(found["metadata"]["createTime"])

    @contextmanager
    def with_hostile_metadata(self) -> Iterator[str]:
        """The operation of a call that runs until the block is left."""
        call_id = new_id()
        metadata = [*_named(call_id), ("x-wish", HOSTILE)]
        request = pb.EchoRequest(act="sleep", seconds=TIMEOUT_S)
        call = self.echo.Unary.future(request, metadata=metadata, timeout=TIMEOUT_S)
        name = f"operations/{call_id}"
        try:
            eventually(lambda: _is_known(self.base, name), "the call is known")
            yield name
        finally:
            self.cancel([name])
            call.cancel()

    def gated(self, gate: Path) -> tuple[str, Path]:
        """The operation of a call of three items, the last two behind a gate; and the gate."""
        call_id = new_id()
        behind = pb.Gate(path=str(gate), before=1)
        request = pb.EchoRequest(text="item", count=3, gate=behind)
        self._detached(call_id, request)
        return f"operations/{call_id}", gate

    def _detached(self, call_id: str, request: pb.EchoRequest) -> None:
        """Begins the call, which goes on without its caller."""
        call = self.echo.Detached(request, metadata=_named(call_id), timeout=TIMEOUT_S)
        name = f"operations/{call_id}"
        eventually(lambda: _is_known(self.base, name), "the call is known")
        self.began.append(name)
        call.cancel()

    def many(self, count: int) -> None:
        """Makes that many calls that succeed, many at once."""

        async def call_all() -> None:
            async with grpc.aio.insecure_channel(self.address) as channel:
                stub = EchoServiceStub(channel)
                left = iter(range(count))

                async def call_some() -> None:
                    for number in left:
                        request = pb.EchoRequest(text=f"{number}")
                        await stub.Unary(request, timeout=TIMEOUT_S)

                await asyncio.gather(*(call_some() for _ in range(_AT_ONCE)))

        asyncio.run(call_all())


@contextmanager
def running_stack(**variables: str) -> Iterator[Stack]:
    """The stack, with settings of the gateway."""
    with (
        redis_server() as url,
        page_gateway(url, **variables) as (gateway, address, base, env),
        echo_worker_named(WORKER, env),
        grpc.insecure_channel(address) as channel,
    ):
        echo = EchoServiceStub(channel)
        succeeded, failed = new_id(), new_id()
        hostile = pb.EchoRequest(text=HOSTILE, count=3)
        wish = ("x-wish", HOSTILE)
        echo.Unary(hostile, metadata=[*_named(succeeded), wish], timeout=TIMEOUT_S)
        with suppress(grpc.RpcError):
            status = pb.EchoStatus(code=9, message=HOSTILE)
            request = pb.EchoRequest(text="t", status=status)
            echo.Unary(request, metadata=_named(failed), timeout=TIMEOUT_S)
        stack = Stack(
            *(address, base, env, gateway, echo),
            *(f"operations/{succeeded}", f"operations/{failed}"),
        )
        yield stack
        stack.cancel(stack.began)  # or the worker would wait for them


@contextmanager
def page_gateway(
    ledger_url: str, **variables: str
) -> Iterator[tuple[Process, str, str, dict[str, str]]]:
    """A gateway with `admin_listen`: process, address, base of the page, environment."""
    port = free_port()
    env = echo_environment(FOREBAY_LEDGER_URL=ledger_url, **variables)
    flags = ("--admin-listen", f"127.0.0.1:{port}")
    with forebay_gateway(*flags, env=env, cwd=ROOT) as (gateway, address):
        yield gateway, address, f"http://127.0.0.1:{port}", env


@contextmanager
def echo_worker_named(name: str, env: dict[str, str]) -> Iterator[Process]:
    """A worker with 4 threads."""
    with process(
        *["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO", "-n", name],
        *["--pool", "threads", "--concurrency", "4", "--without-mingle", "--without-gossip"],
        env=env,
        cwd=ROOT,
    ) as worker:
        worker.wait_for(r" ready\.")
        yield worker


def get(base: str, path: str, **headers: str) -> Answer:
    """A GET, as a browser or a scraper sends it; `_` stands for `-` in the names of headers."""
    return _answer(base, "GET", path, None, headers)


def post(base: str, method: str, request: object = None, **headers: str) -> Answer:
    """A unary RPC of Connect; `_` stands for `-` in the names of headers."""
    given = {"content_type": "application/json", **headers}
    return _answer(base, "POST", f"/{method}", json.dumps(request or {}), given)


def _answer(base: str, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
    return ask(base.removeprefix("http://"), method, path, body, headers, TIMEOUT_S)


def _is_known(base: str, name: str) -> bool:
    return post(base, f"{_OPERATIONS}/GetOperation", {"name": name}).status == 200


def _named(call_id: str) -> list[tuple[str, str]]:
    return [("forebay-call-id", call_id)]
