"""Every way into a system by which a secret may come, each with marked secrets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import urllib.parse
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import redis
from google.longrunning import operations_pb2 as operations
from google.longrunning.operations_pb2_grpc import OperationsStub
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2 as calls
from forebay.v1.calls_pb2_grpc import CallServiceStub
from tests.canaries import Canaries
from tests.commands import Ran, run
from tests.echo.running import ROOT
from tests.echo.v1.echo_pb2 import EchoRequest, EchoStatus
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually
from tests.identity_provider import IdentityProvider

FETCHED = "https://other.example"
"""The issuer whose keys are fetched."""
ECHO = "/tests.echo.v1.EchoService"
TIMEOUT_S = 30.0
Pair = tuple[str, str | bytes]


@dataclass
class System:
    """A gateway with everything on, and what was seen of it."""

    canaries: Canaries
    folder: Path
    env: dict[str, str]
    address: str
    admin: str
    channel: grpc.Channel
    provider: IdentityProvider
    token: str
    redis_url: str
    statuses: list[str] = field(default_factory=list)
    """Of RPCs that failed, with details and trailing metadata."""
    answers: list[str] = field(default_factory=list)
    """Of the gateway's own services, and of its operators' port."""
    asked: set[str] = field(default_factory=set)
    """The methods of these services."""
    printed: list[str] = field(default_factory=list)
    """By commands."""

    def metadata(self, *pairs: Pair, token: str = "") -> list[Pair]:
        """That of a caller who sends a lot that is nobody's business."""
        new = self.canaries.new
        return [
            ("authorization", f"Bearer {token or self.token}"),
            ("cookie", new("other metadata")),
            ("x-secret-bin", new("other metadata").encode()),
            ("baggage", f"user={new('other metadata')}"),
            ("x-wish", new("the route's metadata")),
            *pairs,
        ]

    def call(self, rpc: Callable[..., Any], request: Any, *pairs: Pair, **options: Any) -> Any:
        """What the RPC answers; None if it fails, whose status is kept."""
        options = {"metadata": self.metadata(*pairs), "timeout": TIMEOUT_S, **options}
        try:
            answer = rpc(request, **options)
            return list(answer) if hasattr(answer, "cancel") else answer
        except grpc.RpcError as error:
            said = (error.details(), error.trailing_metadata(), of_rpc_error(error))
            self.statuses.append(repr(said))
            return None

    def ask(self, stub: Any, name: str, request: Any) -> None:
        """Likewise of the stub's method; the answer is kept."""
        self.asked.add(name)
        self.answers.append(repr(self.call(getattr(stub, name), request)))

    def request(self, **fields: Any) -> EchoRequest:
        """One whose text comes back, and whose ballast does not."""
        new = self.canaries.new
        return EchoRequest(
            **{"text": new("response"), "ballast": new("request").encode(), **fields}
        )

    def run(self, *command: str, **variables: str) -> Ran:
        ran = run(*command, env={**self.env, **variables}, cwd=ROOT)
        self.printed.append(f"{command}\n{ran.out}{ran.err}")
        return ran


def make_calls(system: System) -> None:
    """Good calls of all kinds, and all ways in which a handler may fail."""
    echo, request = EchoServiceStub(system.channel), system.request
    for number in range(4):
        system.call(echo.QuickAgain, request(), ("forebay-call-id", f"canaries-{number % 2}"))
    good = [
        (echo.Unary, request(act="metadata")),
        (echo.Quick, request(act="log")),
        (echo.ServerStream, request(count=2)),
        (echo.ClientStream, iter([request(), request()])),
        (echo.Bidi, iter([request(), request()])),
        (echo.Talk, iter([request(), request()])),
    ]
    for number, (rpc, sent) in enumerate(good):
        assert system.call(rpc, sent, ("forebay-call-id", f"canary-{number}"))
    assert system.call(echo.Quick, request())
    status = EchoStatus(code=9, message=system.canaries.new("a handler's status"))
    fails = [request(act=act) for act in ("raise", "wrong type", "exit", "cancelled", "cancel")]
    for sent in (*fails, request(status=status)):
        for rpc in (echo.Unary, echo.Quick):
            assert system.call(rpc, sent) is None
    system.call(echo.Unary, request(act="sleep", seconds=20), timeout=0.5)
    system.call(echo.Quick, request(act="sleep", seconds=20), timeout=0.5)
    left = echo.Detached(request(count=20, seconds=0.1), metadata=system.metadata())
    next(left)
    left.cancel()


def send_what_is_refused(system: System) -> None:
    """Requests that are too large, or not well-formed, or not allowed."""
    new = system.canaries.new
    known = ("forebay-call-id", "canary-0")
    raw = f"\xff{new('request')}".encode()
    for name in ("Unary", "Quick", "Unrouted"):
        system.call(system.channel.unary_unary(f"{ECHO}/{name}"), raw)
    echo = EchoServiceStub(system.channel)
    large = new("request").encode() * 20_000
    for rpc in (echo.Unary, echo.Quick):
        system.call(rpc, system.request(ballast=large))
    system.call(echo.Unary, system.request(), known)
    system.call(echo.Unary, system.request(), known, ("forebay-priority", "x"))
    system.call(echo.Unary, system.request(), ("traceparent", f"00-{new('other metadata')}"))


def show_bad_identities(system: System) -> None:
    """Tokens of all kinds, good and bad, to methods that need one."""
    new, provider = system.canaries.new, system.provider
    claims = {"email": new("claims of a token"), "address": {"street": new("claims of a token")}}
    tokens = [
        provider.token(**claims),
        provider.token(exp=1, **claims),
        provider.token(aud=new("claims of a token"), **claims),
        provider.token(iss=f"https://{new('claims of a token')}", **claims),
        provider.token(tenant=f"{new('claims of a token')}/", **claims),
        provider.token(headers={"kid": new("claims of a token")}, **claims),
        # Its issuer's keys are fetched then, which fails.
        provider.token(iss=FETCHED, headers={"kid": new("claims of a token")}, **claims),
        provider.token(headers={"jku": new("claims of a token")}, **claims),
        f"{provider.token(**claims)[:-12]}{new('a token')}",
        f"{system.token[:-12]}{new('a token')}",
        f"fbk_none_{new('a token')}",
        new("a token"),
    ]
    system.canaries.add("a token", *(token for one in tokens for token in one.split(".")[1:]))
    values = [*(f"Bearer {token}" for token in tokens), new("a token")]
    password = b64encode(f"user:{new('a token')}".encode()).decode()
    who = CallServiceStub(system.channel).WhoAmI
    unary = EchoServiceStub(system.channel).Unary
    for value in (*values, f"Basic {password}"):
        for rpc, request in ((who, calls.WhoAmIRequest()), (unary, system.request())):
            metadata = [("authorization", value), ("cookie", new("other metadata"))]
            system.call(rpc, request, metadata=metadata)
    system.call(who, calls.WhoAmIRequest(), ("authorization", f"Bearer {new('a token')}"))


def ask_everything(system: System) -> None:
    """All RPCs of the gateway's own services."""
    asked, told = OperationsStub(system.channel), CallServiceStub(system.channel)
    for name in ("operations/canary-0", "operations/none", f"{'x' * 200}/y"):
        system.ask(asked, "GetOperation", operations.GetOperationRequest(name=name))
        system.ask(asked, "WaitOperation", operations.WaitOperationRequest(name=name))
        system.ask(told, "ReadItems", calls.ReadItemsRequest(name=name))
        system.ask(asked, "CancelOperation", operations.CancelOperationRequest(name=name))
    list_all = operations.ListOperationsRequest(name="operations")
    system.ask(asked, "ListOperations", list_all)
    system.ask(asked, "ListOperations", operations.ListOperationsRequest(name="x", filter="bad ="))
    delete = operations.DeleteOperationRequest(name="operations/canary-2")
    system.ask(asked, "DeleteOperation", delete)
    system.ask(told, "ListMethods", calls.ListMethodsRequest())
    system.ask(told, "ListQueues", calls.ListQueuesRequest())
    system.ask(told, "ListWorkers", calls.ListWorkersRequest())
    system.ask(told, "ListErrors", calls.ListErrorsRequest(parent="operations"))
    system.ask(told, "ListProblems", calls.ListProblemsRequest())
    method = calls.DescribeMethodRequest(method=f"{ECHO[1:]}.Unary")
    system.ask(told, "DescribeMethod", method)
    system.ask(told, "ReadActivity", calls.ReadActivityRequest())
    profile = calls.ReadProfileRequest()
    profile.duration.FromMilliseconds(200)
    system.ask(told, "ReadProfile", profile)
    system.ask(told, "WhoAmI", calls.WhoAmIRequest())
    system.ask(HealthStub(system.channel), "Check", health_pb2.HealthCheckRequest())
    with grpc.insecure_channel(system.admin) as channel:
        system.ask(OperationsStub(channel), "ListOperations", list_all)
        bad = [("authorization", f"Bearer {system.canaries.new('a token')}")]
        system.call(OperationsStub(channel).ListOperations, list_all, metadata=bad)


def forge(system: System) -> None:
    """Messages of a stranger to workers and gateways, in the broker and in the ledger."""
    new = system.canaries.new
    with redis.Redis.from_url(system.redis_url) as server:
        for task in ("echo.unary", "none", None):
            body = b64encode(json.dumps([[new("request")], {}, {}]).encode()).decode()
            message = {
                "body": body,
                "content-encoding": "utf-8",
                "content-type": "application/json",
                "headers": {"task": task, "id": "forged", "lang": "py", "x": new("request")},
                "properties": {
                    "body_encoding": "base64",
                    "correlation_id": "forged",
                    "delivery_info": {"exchange": "", "routing_key": "echo"},
                    "delivery_tag": f"forged-{task}",
                    "priority": 0,
                },
            }
            server.lpush("echo", json.dumps(message))
        for channel in server.pubsub_channels("forebay:*"):
            server.publish(channel, f"\x07{new('request')}")
        for key in server.scan_iter("*:call:*canary-1"):
            server.hset(key, "request", new("request"))


def wait_for_calls(system: System) -> None:
    """Returns when no call runs: a worker whose ledger is away can't end the ones that do."""
    listing = operations.ListOperationsRequest(name="operations", filter="done = false")

    def have_ended() -> bool:
        options = {"metadata": system.metadata(), "timeout": TIMEOUT_S}
        return not OperationsStub(system.channel).ListOperations(listing, **options).operations

    eventually(have_ended, "all calls have ended")


@contextlib.contextmanager
def monitored(url: str) -> Iterator[list[str]]:
    """All commands that the Redis gets while the block runs, as its MONITOR shows them.

    Scripts are shown with their arguments, and with what they do.
    """
    seen: list[str] = []
    server = urllib.parse.urlsplit(url)
    with socket.create_connection((server.hostname, server.port)) as line:
        line.sendall(f"AUTH {server.password}\r\nMONITOR\r\n".encode())

        def read() -> None:
            with line.makefile("rb") as lines:
                seen.extend(text.decode(errors="replace") for text in lines)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield seen
        finally:
            with contextlib.suppress(OSError):  # the server has ended
                line.shutdown(socket.SHUT_RDWR)
            thread.join()
