"""Shared runs with tenants, signed messages, gateways that die, and channels that resume."""

from __future__ import annotations

import json
import signal
import uuid
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

import forebay
from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import CallKey
from tests.commands import run
from tests.e2e.known_calls import accepting_nothing
from tests.echo.running import ROOT, echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, process, redis_server
from tests.tenancy.running import Tenants

TIMEOUT_S = 60.0
SLOTS = 2
STEADY = "tests.echo.v1.EchoService.Steady"
CACHES = {STEADY: {"ttl": "60s", "scope": "CACHE_SCOPE_EVERYONE"}}
LIMITS = {"strict": {"queued": 1, "in_flight": 4}}


@dataclass
class System:
    """Two gateways and a worker, with tenants and signed messages.

    `Steady` shares runs between tenants, `Cached` does not.
    """

    env: dict[str, str]
    tenants: Tenants
    stubs: tuple[EchoServiceStub, EchoServiceStub]
    addresses: tuple[str, str]
    ledger: BlockingLedger
    folder: Path

    def gated(self) -> tuple[EchoRequest, Path]:
        """A request unlike all others, whose handler waits, and the file that opens the gate."""
        name = str(uuid.uuid4())
        gate = self.folder / name
        return EchoRequest(text=name, count=2, gate=Gate(path=str(gate), before=1)), gate

    def metadata(self, tenant: str, **more: str) -> list[tuple[str, str]]:
        pairs = [(key.replace("_", "-"), value) for key, value in more.items()]
        return [("authorization", f"Bearer {self.tenants.token(tenant)}"), *pairs]

    def steady(
        self,
        request: EchoRequest,
        tenant: str = "acme",
        gateway: int = 0,
        stub: EchoServiceStub | None = None,
        **more: str,
    ) -> Any:
        stub = stub or self.stubs[gateway]
        return stub.Steady(request, timeout=TIMEOUT_S, metadata=self.metadata(tenant, **more))

    def cached(self, request: EchoRequest, tenant: str = "acme", **more: str) -> tuple[str, Any]:
        """The response's text, and the call."""
        response, call = self.stubs[0].Cached.with_call(
            request, timeout=TIMEOUT_S, metadata=self.metadata(tenant, **more)
        )
        return response.text, call

    def record(self, call: CallKey) -> dict[bytes, bytes]:
        found = self.ledger.redis.hgetall(f"{call.partition}:call:{call}")
        return cast("dict[bytes, bytes]", found)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("caching")
    tenants = Tenants(folder, "acme", "umbrella", "strict")
    keys = folder / "signing.toml"
    keys.write_text(f'[keys]\nfirst = "{b64encode(bytes(32)).decode()}"\n')
    keys.chmod(0o600)
    with ExitStack() as stack:
        url = stack.enter_context(redis_server())
        env = echo_environment(
            FOREBAY_LEDGER_URL=url,
            FOREBAY_SIGNING_KEYS=str(keys),
            FOREBAY_CACHES=json.dumps(CACHES),
            **tenants.settings(**LIMITS),
        )
        stack.enter_context(echo_worker(env, slots=SLOTS))
        one, other = (stack.enter_context(echo_gateway(env))[1] for _ in range(2))
        stubs = [
            EchoServiceStub(stack.enter_context(grpc.insecure_channel(address)))
            for address in (one, other)
        ]
        ledger = stack.enter_context(closing(BlockingLedger(url)))
        yield System(env, tenants, (stubs[0], stubs[1]), (one, other), ledger, folder)


def initial(call: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in call.initial_metadata()}


def kind(call: Any) -> str | None:
    return initial(call).get("forebay-cache")


def run_id(call: Any) -> str:
    return initial(call)["forebay-call-id"]


def reason(call: Any) -> tuple[str, str]:
    """The status and the reason of a stream that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    error = of_rpc_error(caught.value)
    return error.code_name, error.reason


def indices(call: Any) -> list[int]:
    return [item.index for item in call if not item.transient]


def test_a_tenant_never_gets_the_result_of_another_one(system: System) -> None:
    request = EchoRequest(text=str(uuid.uuid4()), act="say who calls")
    known, call = system.cached(request)
    assert (kind(call), json.loads(known)["identities"]) == ("new", ["acme"])
    again, call = system.cached(request)
    assert (kind(call), again) == ("finished", known)
    others, call = system.cached(request, "umbrella")
    assert (kind(call), json.loads(others)["identities"]) == ("new", ["umbrella"])


def test_a_run_of_everyone_belongs_to_nobody(system: System) -> None:
    request, gate = system.gated()
    first = system.steady(request)
    assert kind(first) == "new"
    other = system.steady(request, "umbrella", gateway=1)
    assert (kind(other), run_id(other)) == ("running", run_id(first))
    key = CallKey(run_id(first))
    eventually(lambda: system.record(key)[b"state"] == b"RUNNING", "the run begins")
    record = system.record(key)
    assert b"acme" not in b"".join(record.values())
    gate.touch()
    assert indices(first) == indices(other) == [0, 1]


def test_a_run_of_everyone_is_resumed_by_its_id_with_the_same_request(system: System) -> None:
    request, gate = system.gated()
    first = system.steady(request)
    name = run_id(first)
    gate.touch()
    assert indices(first) == [0, 1]
    resumed = system.steady(
        request, "umbrella", gateway=1, forebay_call_id=name, forebay_resume_from="1"
    )
    assert indices(resumed) == [1]
    stranger, _ = system.gated()
    other = system.steady(stranger, "umbrella", forebay_call_id=name, forebay_resume_from="1")
    assert reason(other) == ("NOT_FOUND", "CALL_UNKNOWN")


def test_a_call_with_an_id_of_its_own_is_recorded_under_it(system: System) -> None:
    request = EchoRequest(text=str(uuid.uuid4()))
    own = f"own-{uuid.uuid4()}"
    _, call = system.cached(request)
    shared = run_id(call)
    _, call = system.cached(request, forebay_call_id=own)
    assert (kind(call), run_id(call)) == (None, own)
    assert initial(call)["forebay-attached"] == "new"
    assert b"cache" not in system.record(CallKey(own, "acme"))
    _, call = system.cached(request, forebay_call_id=own)
    assert initial(call)["forebay-attached"] == "finished"
    other = f"own-{uuid.uuid4()}"
    options = {"forebay_call_id": other, "forebay_cache_control": "share"}
    _, call = system.cached(request, **options)
    assert (kind(call), run_id(call)) == ("finished", shared)
    assert not system.record(CallKey(other, "acme"))
    # The run's own id is that of any call, also for a request in other bytes.
    _, call = system.cached(
        EchoRequest(text=request.text, ballast=b"ignored"), forebay_call_id=shared
    )
    assert (kind(call), initial(call)["forebay-attached"]) == (None, "finished")


def test_a_call_that_joins_counts_as_in_flight_and_not_as_waiting(system: System) -> None:
    holding, opened = system.gated()
    held = [
        system.steady(
            EchoRequest(text=f"{holding.text} {n}", count=2, gate=holding.gate), "umbrella"
        )
        for n in range(SLOTS)
    ]
    for call in held:
        next(call)  # each slot of the worker has one
    request, gate = system.gated()
    # First at the gateway that knows of the calls before it.
    waiting = [system.steady(request, "strict")]
    assert kind(waiting[0]) == "new"
    waiting += [system.steady(request, "strict", gateway) for gateway in (0, 1)]
    assert [kind(call) for call in waiting[1:]] == ["running", "running"]
    another, _ = system.gated()
    assert reason(system.steady(another, "strict")) == (
        "RESOURCE_EXHAUSTED",
        "QUOTA_EXCEEDED",
    )  # queued
    fourth = system.steady(request, "strict")
    assert kind(fourth) == "running"
    fifth = system.steady(request, "strict")
    assert reason(fifth) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")  # in flight
    opened.touch()
    gate.touch()
    assert [indices(call) for call in (*waiting, fourth)] == [[0, 1]] * 4


def test_an_entry_that_was_altered_is_not_used(system: System) -> None:
    _, call = system.cached(EchoRequest(text="secret of acme"))
    secret = CallKey(run_id(call), "acme")
    request = EchoRequest(text=str(uuid.uuid4()))
    _, call = system.cached(request, "umbrella")
    own = CallKey(run_id(call), "umbrella")
    digest = system.record(own)[b"cache"].decode()
    entry = f"{own.partition}:cache:{digest}"
    proof = cast("bytes", system.ledger.redis.get(entry)).removeprefix(str(own).encode())
    for forged in (proof, b" "):
        system.ledger.redis.set(entry, str(secret).encode() + forged)
        system.ledger.redis.hset(f"{secret.partition}:call:{secret}", "cache", digest)
        if secret.partition != own.partition:  # the attacker can copy the record, too
            source, target = (
                f"{place}:call:{secret}" for place in (secret.partition, own.partition)
            )
            system.ledger.redis.copy(source, target, replace=True)
        text, call = system.cached(request, "umbrella")
        assert (text, kind(call)) == (request.text, "new")


def test_a_run_goes_on_when_the_gateway_that_began_it_is_killed(system: System) -> None:
    request, gate = system.gated()
    with echo_gateway(system.env) as (gateway, address), grpc.insecure_channel(address) as channel:
        first = system.steady(request, stub=EchoServiceStub(channel))
        assert kind(first) == "new"
        joined = system.steady(request, "umbrella")
        assert (kind(joined), run_id(joined)) == ("running", run_id(first))
        gateway.stop(signal.SIGKILL)
        assert reason(first)[0] == "UNAVAILABLE"
    gate.touch()
    assert indices(joined) == [0, 1]
    with echo_gateway(system.env) as (_, address), grpc.insecure_channel(address) as channel:
        later = system.steady(request, stub=EchoServiceStub(channel))
        assert (kind(later), run_id(later), indices(later)) == ("finished", run_id(first), [0, 1])


def test_a_channel_resumes_a_shared_run_when_its_gateway_is_killed(system: System) -> None:
    request, gate = system.gated()
    first = system.steady(request, "umbrella")
    assert kind(first) == "new"
    with ExitStack() as stack:
        gateway, address = stack.enter_context(echo_gateway(system.env))
        token = system.tenants.token("acme")
        channel = stack.enter_context(forebay.channel([address], token=token))
        call = EchoServiceStub(channel).Steady(request, timeout=TIMEOUT_S)
        seen = [next(item for item in call if not item.transient).index]
        assert (kind(call), run_id(call)) == ("running", run_id(first))
        gateway.stop(signal.SIGKILL)
        command = ("forebay", "gateway", "--listen", address)
        stack.enter_context(process(*command, env=system.env, cwd=ROOT))
        gate.touch()
        seen += indices(call)
        assert seen == [0, 1]
        assert initial(call)["forebay-call-id"] == run_id(first)
    assert indices(first) == [0, 1]


@pytest.mark.parametrize("value", ["no-store", ""])
def test_bad_cache_directives_are_refused(system: System, value: str) -> None:
    request = EchoRequest(text=str(uuid.uuid4()))
    with accepting_nothing(system.ledger.redis), pytest.raises(grpc.RpcError) as caught:
        system.cached(request, forebay_cache_control=value)
    error = of_rpc_error(caught.value)
    assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert "forebay-cache-control" in error.message


def test_a_gateway_with_caches_that_cannot_be_does_not_start() -> None:
    caches = {
        "tests.echo.v1.EchoService.Unary": {"ttl": "60s"},
        "tests.echo.v1.EchoService.TalkAgain": {"ttl": "60s"},
        STEADY: {"ttl": "7200s", "ignore_fields": ["tekst"]},
    }
    env = echo_environment(FOREBAY_CACHES=json.dumps(caches))
    ran = run("forebay", "gateway", "--listen", "127.0.0.1:0", env=env, cwd=ROOT)
    assert ran.code == 1
    for problem in (
        "EchoService.Unary: `cache` needs an `idempotency_level` of NO_SIDE_EFFECTS",
        "EchoService.TalkAgain: `cache` is not for `live` methods",
        "EchoService.Steady: `cache.ttl` is 7200 s, but the ledger keeps calls for 3600 s",
        "EchoService.Steady: `cache.ignore_fields` names 'tekst'",
    ):
        assert problem in ran.err
