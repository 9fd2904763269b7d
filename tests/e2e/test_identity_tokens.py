"""Tokens at a real gateway: good and bad ones, and keys that come, go and can't be fetched."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from connectrpc.client import ConnectClientSync
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_gateway.identity.jwt.fetched_keys import REFRESH_S
from forebay_gateway.identity.keys.api_key import new_key
from forebay_gateway.identity.keys.editing import add_key, remove_key
from tests.commands import run
from tests.harness import (
    Process,
    environment,
    eventually,
    forebay_gateway,
    free_port,
    short_folder,
)
from tests.http_requests import Answer, ask
from tests.identity_provider import (
    AUDIENCE,
    BAD_TOKENS,
    ISSUER,
    LEEWAY_S,
    IdentityProvider,
    JwksServer,
    jwks_server,
    private_key,
    public_jwk,
    with_document,
)
from tests.scraping import metric

pytestmark = pytest.mark.variant

WATCH = MethodInfo(
    name="Watch",
    service_name="grpc.health.v1.Health",
    input=health_pb2.HealthCheckRequest,
    output=health_pb2.HealthCheckResponse,
    idempotency_level=IdempotencyLevel.NO_SIDE_EFFECTS,
    stream_type=StreamType.SERVER_STREAM,
)
REQUEST = calls_pb2.ListMethodsRequest()
TAKEN_IN_S = 40.0
"""Within this, a gateway takes in changed files (10 s) and keys (30 s)."""


@dataclass
class Gateway:
    """A gateway whose callers need a token, and where its keys are from."""

    process: Process
    address: str
    admin: str
    web: str
    env: dict[str, str]
    channel: grpc.Channel
    keys: Path
    provider: IdentityProvider
    server: JwksServer

    def call(self, *tokens: str, timeout_s: float = 30.0) -> str:
        """The status of a call with these tokens, and what it says: `OK`, or CODE/REASON: …."""
        metadata = [("authorization", f"Bearer {token}") for token in tokens]
        try:
            CallServiceStub(self.channel).ListMethods(REQUEST, metadata=metadata, timeout=timeout_s)
        except grpc.RpcError as error:
            return str(of_rpc_error(error))
        return "OK"

    def by_connect(self, token: str) -> Answer:
        """The answer to the same call over the web front, by the Connect protocol."""
        headers = {"authorization": f"Bearer {token}", "content_type": "application/json"}
        path = "/forebay.v1.CallService/ListMethods"
        return ask(self.web, "POST", path, "{}", headers, 30.0)

    def watch(self, token: str) -> Any:
        """The responses of an RPC that lasts as long as the gateway lets it."""
        health: Any = health_pb2_grpc.HealthStub(self.channel)  # type: ignore[no-untyped-call]
        metadata = [("authorization", f"Bearer {token}")]
        return health.Watch(health_pb2.HealthCheckRequest(), metadata=metadata, timeout=120.0)

    def publish(self) -> None:
        self.server.answer = with_document(self.provider.jwks())

    def tells(self, token: str, problems: int) -> None:
        """Waits until the metric, and `forebay doctor`, tell of so many problems of keys."""
        file = self.keys.with_name("token")
        file.write_text(token)
        target = ("-t", self.address, "--token-file", str(file))
        line = "problem identity: keys or roles of callers can't be used"

        def told() -> tuple[float, int]:
            doctor = run("forebay", "doctor", *target, env=self.env).out
            return sum(metric(self.admin, "forebay_identity_problems")), doctor.count(line)

        eventually(lambda: told() == (problems, problems), "both tell of it", TAKEN_IN_S)

    @property
    def is_serving(self) -> bool:
        check: Any = health_pb2_grpc.HealthStub(self.channel)  # type: ignore[no-untyped-call]
        answer = check.Check(health_pb2.HealthCheckRequest())
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@contextmanager
def serving(server: JwksServer) -> Iterator[Gateway]:
    """A gateway that takes API keys and the tokens of a provider, whose keys the server has."""
    provider = IdentityProvider("RS256-0", "ES256-1")
    server.answer = with_document(provider.jwks())
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        (folder / "keys.toml").write_text("")
        (folder / "forebay.toml").write_text(
            f"""
            [[auth.jwt]]
            issuer = "{ISSUER}"
            audiences = ["{AUDIENCE}"]
            algorithms = ["RS256", "PS256", "ES256"]
            jwks_url = "{server.url}"
            leeway_s = {LEEWAY_S}

            [[auth.keys]]
            file = "keys.toml"

            [roles]
            operator = ["forebay.calls.queues"]
            caller = ["forebay.compute.v1.ComputeService.Factorial"]
            """
        )
        admin = f"127.0.0.1:{free_port()}"
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"), FOREBAY_ADMIN_LISTEN=admin)
        started = forebay_gateway("--web-listen", "127.0.0.1:0", env=env, cwd=folder)
        process, address = stack.enter_context(started)
        web = process.wait_for(r"serves browsers on http://(\S+)")[1]
        channel = stack.enter_context(grpc.insecure_channel(address))
        keys = folder / "keys.toml"
        yield Gateway(process, address, admin, web, env, channel, keys, provider, server)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with jwks_server() as server, serving(server) as running:
        eventually(lambda: running.is_serving, "it has the keys")
        yield running


# HTTP/2 allows no header that ends with a blank, so that `Bearer ` is no such header.
@pytest.mark.parametrize("bad", [name for name in BAD_TOKENS if name != "nothing"])
def test_a_bad_token_is_refused_without_being_shown(gateway: Gateway, bad: str) -> None:
    make, expected = BAD_TOKENS[bad]
    token = make(gateway.provider)
    answer = gateway.call(token)
    parts = [part for part in token.split(".") if len(part) > 3]
    assert not [part for part in parts if part in answer or part in gateway.process.output]
    if answer.startswith("RESOURCE_EXHAUSTED: received metadata size"):
        assert bad == "over 8 KiB", "the front grpc refuses it before us"
        return
    assert answer.startswith("UNAUTHENTICATED/UNAUTHENTICATED: ")
    assert re.search(f"{expected}|Bearer TOKEN", answer)


@pytest.mark.parametrize("bad", [name for name in BAD_TOKENS if name != "nothing"])
def test_a_bad_token_is_refused_by_the_web_front(gateway: Gateway, bad: str) -> None:
    make, expected = BAD_TOKENS[bad]
    answer = gateway.by_connect(make(gateway.provider))
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    assert re.search(f"{expected}|Bearer TOKEN", answer.json["message"])
    assert gateway.by_connect(gateway.provider.token()).status == 200


def test_a_web_stream_ends_when_its_token_expires(gateway: Gateway) -> None:
    """By the Connect protocol, and by server-sent events of a call that waits for a worker."""
    token = gateway.provider.token(exp=int(time.time() - LEEWAY_S) + 6)
    headers = {"authorization": f"Bearer {token}"}
    options: Any = {"codec": google_protobuf_json_codec(), "timeout_ms": 60_000}
    with ConnectClientSync(f"http://{gateway.web}", **options) as client:
        request = health_pb2.HealthCheckRequest()
        watch = client.execute_server_stream(request=request, method=WATCH, headers=headers)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        factorial = "/forebay.compute.v1.ComputeService/Factorial?message=%7B%22n%22%3A3%7D"
        as_events = {**headers, "accept": "text/event-stream"}
        events = ask(gateway.web, "GET", factorial, None, as_events, 60.0)
        with pytest.raises(ConnectError) as ended:
            next(watch)
    assert ended.value.code is Code.UNAUTHENTICATED
    assert events.text.startswith("retry: ")
    assert "event: error" in events.text
    assert "UNAUTHENTICATED" in events.text


def test_no_token_or_two_are_refused(gateway: Gateway) -> None:
    token = gateway.provider.token()
    assert gateway.call().startswith("UNAUTHENTICATED/UNAUTHENTICATED: ")
    assert gateway.call(token, token).startswith("UNAUTHENTICATED/UNAUTHENTICATED: ")
    assert gateway.call(token, "x").startswith("UNAUTHENTICATED/UNAUTHENTICATED: ")


@pytest.mark.parametrize("claims", [{}, {"exp": -LEEWAY_S / 2}, {"nbf": LEEWAY_S / 2}])
def test_a_good_token_is_accepted_and_a_role_decides_what_for(
    gateway: Gateway, claims: dict[str, float]
) -> None:
    times = {name: int(time.time() + distance) for name, distance in claims.items()}
    assert gateway.call(gateway.provider.token(**times)) == "OK"
    assert gateway.call(gateway.provider.token("ES256-1", **times)) == "OK"
    answer = gateway.call(gateway.provider.token(scope="caller", **times))
    assert answer.startswith("PERMISSION_DENIED/PERMISSION_DENIED: ")


def test_keys_come_and_go_while_the_gateway_runs(gateway: Gateway) -> None:
    key, token = new_key("acme", ("operator",), None, None)
    assert gateway.call(token).startswith("UNAUTHENTICATED/")
    add_key(gateway.keys, key)
    eventually(lambda: gateway.call(token) == "OK", "the key is accepted", TAKEN_IN_S)
    watch = gateway.watch(token)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    good = gateway.keys.read_text()
    gateway.keys.write_text("[keys")
    eventually(lambda: "stays as it was" in gateway.process.output, "it says so", TAKEN_IN_S)
    assert gateway.call(token) == "OK"
    gateway.tells(token, problems=1)
    gateway.keys.write_text(good)
    remove_key(gateway.keys, key.key_id)
    eventually(lambda: gateway.call(token) != "OK", "the key is refused", TAKEN_IN_S)
    gateway.tells(gateway.provider.token(), problems=0)
    with pytest.raises(grpc.RpcError) as ended:
        next(watch)
    assert str(of_rpc_error(ended.value)).startswith("UNAUTHENTICATED/UNAUTHENTICATED: the key of")
    assert token.split("_", 2)[2] not in gateway.process.output


@pytest.mark.timeout(300)
def test_a_key_that_is_replaced_under_its_id_ends_the_rpcs_that_it_proved(gateway: Gateway) -> None:
    token = gateway.provider.token()
    watches = [gateway.watch(one) for one in (token, gateway.provider.token("ES256-1"))]
    for watch in watches:
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    good = gateway.server.answer
    keys = json.loads(gateway.provider.jwks())["keys"]
    keys[0] = public_jwk(private_key("RSA", 7), "RS256", kid="RS256-0", alg="RS256")
    gateway.server.answer = with_document(json.dumps({"keys": keys}).encode())
    try:
        with pytest.raises(grpc.RpcError) as ended:
            next(watches[0])
        told = str(of_rpc_error(ended.value))
        assert told.startswith("UNAUTHENTICATED/UNAUTHENTICATED: the key of")
        assert gateway.call(token).startswith("UNAUTHENTICATED/")
        assert watches[1].is_active(), "its key is as it was"
        watches[1].cancel()
    finally:
        gateway.server.answer = good
    eventually(lambda: gateway.call(token) == "OK", "the first key is back", TAKEN_IN_S)


@pytest.mark.timeout(300)
def test_keys_of_an_issuer_come_and_go_while_the_gateway_runs() -> None:
    with jwks_server() as server, serving(server) as gateway:
        eventually(lambda: gateway.is_serving, "it has the keys")
        old, new = gateway.provider.token(), gateway.provider.token("RS256-2")
        assert gateway.call(old) == "OK"
        gateway.provider.key_ids = ["ES256-1", "RS256-2"]
        gateway.publish()
        assert gateway.call(new) == "OK", "its key is fetched at once"
        assert gateway.call(old).startswith("UNAUTHENTICATED/"), "although it was verified before"
        gateway.tells(new, problems=0)
        server.answer = with_document(b"", 503)
        gateway.process.wait_for("fetching the keys of .* is interrupted", TAKEN_IN_S)
        gateway.tells(new, problems=1)
        assert gateway.call(new) == "OK"
        assert gateway.is_serving


def test_a_thousand_random_key_ids_cost_one_fetch(gateway: Gateway) -> None:
    token = gateway.provider.token
    before, began = gateway.server.requests, time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        bad = pool.map(lambda n: gateway.call(token(headers={"kid": f"r{n}"})), range(1000))
        good = [gateway.call(token()) for _ in range(50)]
        answers = set(bad)
    assert set(good) == {"OK"}
    assert {answer.partition(":")[0] for answer in answers} == {"UNAUTHENTICATED/UNAUTHENTICATED"}
    periods = 1 + (time.monotonic() - began) // REFRESH_S
    assert gateway.server.requests - before <= 2 * periods, "an early and a regular one in each"


def test_a_gateway_whose_issuer_is_down_is_not_ready_and_tries_again() -> None:
    port = free_port()
    absent = JwksServer(f"http://127.0.0.1:{port}/jwks.json")
    with serving(absent) as gateway:
        assert not gateway.is_serving
        token = gateway.provider.token()
        assert gateway.call(token).startswith("UNAVAILABLE/")
        assert not gateway.is_serving
        with jwks_server(port) as server:
            server.answer = with_document(gateway.provider.jwks())
            eventually(lambda: gateway.is_serving, "it has the keys")
            assert gateway.call(token) == "OK"
