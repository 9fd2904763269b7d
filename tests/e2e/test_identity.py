"""A gateway that knows its callers: who may make which RPC, and what others are told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.longrunning import operations_proto_pb2
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2

import forebay
from forebay.compute.v1 import compute_pb2
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from tests.commands import run
from tests.echo.running import echo_worker
from tests.echo.v1 import echo_pb2
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import environment, forebay_gateway, short_folder
from tests.identities import Keys, Pair

TIMEOUT_S = 30.0
ISSUER = "https://login.example"
ROOT = Path(__file__).parents[2]
ECHO, COMPUTE = "tests.echo.v1.EchoService", "forebay.compute.v1.ComputeService"
OPERATIONS, CALLS = "google.longrunning.Operations", "forebay.v1.CallService"
REFLECTION = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
SERVICES: Sequence[ServiceDescriptor] = (
    echo_pb2.DESCRIPTOR.services_by_name["EchoService"],
    compute_pb2.DESCRIPTOR.services_by_name["ComputeService"],
    calls_pb2.DESCRIPTOR.services_by_name["CallService"],
    operations_proto_pb2.DESCRIPTOR.services_by_name["Operations"],
)
ROLES = {
    "echoer": [f"{ECHO}.*"],
    "adder": [f"{COMPUTE}.Add"],
    "computer": [f"{COMPUTE}.*"],
    "reader": ["forebay.calls.read"],
    "canceller": ["forebay.calls.cancel"],
    "deleter": ["forebay.calls.delete"],
    "watcher": ["forebay.calls.queues"],
}
ROLE_OF_OWN = {
    f"{OPERATIONS}/GetOperation": "reader",
    f"{OPERATIONS}/ListOperations": "reader",
    f"{OPERATIONS}/WaitOperation": "reader",
    f"{OPERATIONS}/CancelOperation": "canceller",
    f"{OPERATIONS}/DeleteOperation": "deleter",
    f"{CALLS}/ReadItems": "reader",
    f"{CALLS}/ListMethods": "watcher",
    f"{CALLS}/ListQueues": "watcher",
    f"{CALLS}/ListWorkers": "watcher",
    f"{CALLS}/ReadActivity": "watcher",
    f"{CALLS}/ReadProfile": "watcher",
    f"{CALLS}/ListProblems": "watcher",
    f"{CALLS}/ListErrors": "reader",
}
ANY_IDENTITY = (
    f"/{CALLS}/WhoAmI",
    f"/{CALLS}/DescribeMethod",
    "/grpc.health.v1.Health/Watch",
    "/grpc.health.v1.Health/List",
    *REFLECTION,
)
_Code = grpc.StatusCode


@dataclass
class System:
    """A gateway with authentication; a subject's name is that of its only role."""

    keys: Keys
    address: str
    channel: grpc.Channel
    env: dict[str, str]
    sign: ec.EllipticCurvePrivateKey

    def jwt(self, role: str, lasts_s: float) -> list[Pair]:
        """The metadata of an RPC with a JWT."""
        claims = {
            "iss": ISSUER,
            "aud": "forebay",
            "exp": time.time() + lasts_s,
            "tenant": "acme",
            "sub": "jay",
            "scope": role,
        }
        token = jwt.encode(claims, self.sign, "ES256", {"kid": "k1"})
        return [("authorization", f"Bearer {token}")]

    def code(self, path: str, metadata: Sequence[Pair]) -> grpc.StatusCode:
        """The status of an RPC whose request is not a message of any method.

        The guard decides before anything is read, so INVALID_ARGUMENT comes from behind it.
        """
        rpc = self.channel.stream_stream(path, lambda request: request, lambda response: response)
        try:
            list(rpc(iter([b"\xff"]), metadata=metadata, timeout=TIMEOUT_S))
        except grpc.RpcError as error:
            return error.code()
        return _Code.OK

    def code_for(self, path: str, subject: str) -> grpc.StatusCode:
        return self.code(path, self.keys.metadata(subject))


@pytest.fixture(scope="module", params=["native", pytest.param("grpc", marks=pytest.mark.variant)])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with short_folder() as folder:
        keys = Keys(folder / "keys.toml")
        for role in ROLES:
            keys.add(role, role)
        keys.add("nobody")
        sign = ec.generate_private_key(ec.SECP256R1())
        public = jwt.algorithms.ECAlgorithm.to_jwk(sign.public_key(), as_dict=True) | {"kid": "k1"}
        (folder / "jwks.json").write_text(json.dumps({"keys": [public]}))
        issuer = {
            "issuer": ISSUER,
            "audiences": ["forebay"],
            "algorithms": ["ES256"],
            "jwks_file": str(folder / "jwks.json"),
            "leeway_s": 0,
        }
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2", "forebay.compute.v1.compute_pb2"]',
            FOREBAY_FRONT=request.param,
            FOREBAY_WINDOW_BYTES="1000",
            **keys.variables(ROLES, jwt=[issuer]),
        )
        flags = ("--listen", "0.0.0.0:0", "--insecure")
        with forebay_gateway(*flags, env=env, cwd=ROOT) as (gateway, listens):
            address = f"127.0.0.1:{listens.rpartition(':')[2]}"
            assert "without [tls]" in gateway.output
            with grpc.insecure_channel(address) as channel:
                yield System(keys, address, channel, env, sign)


def paths_and_roles() -> Iterator[tuple[str, str]]:
    """Every method of every service with a permission, and the only role that has it."""
    for service in SERVICES:
        for method in service.methods:
            path = f"{service.full_name}/{method.name}"
            if method.name == "Unrouted":  # it is not served
                continue
            if service.full_name == ECHO:
                yield f"/{path}", "echoer"
            elif service.full_name == COMPUTE:
                yield f"/{path}", "computer"
            elif f"/{path}" not in ANY_IDENTITY:
                yield f"/{path}", ROLE_OF_OWN[path]


def test_every_rpc_needs_an_identity_and_the_permission(system: System) -> None:
    names = list(ROLES)
    checked = 0
    for path, role in paths_and_roles():
        neighbour = names[(names.index(role) + 1) % len(names)]
        assert system.code(path, ()) is _Code.UNAUTHENTICATED, path
        assert system.code(path, [("authorization", "Bearer fbk_no_key")]) is _Code.UNAUTHENTICATED
        for other in ("nobody", neighbour):
            assert system.code_for(path, other) is _Code.PERMISSION_DENIED, (path, other)
        assert system.code_for(path, role) is _Code.INVALID_ARGUMENT, (path, role)
        checked += 1
    assert checked > len(ROLE_OF_OWN)


def test_some_rpcs_need_any_identity_and_the_health_check_none(system: System) -> None:
    for path in ANY_IDENTITY:
        assert system.code(path, ()) is _Code.UNAUTHENTICATED, path
        assert system.code_for(path, "nobody") is _Code.INVALID_ARGUMENT, path
    assert system.code("/not.served.Service/Method", ()) is _Code.UNAUTHENTICATED
    assert system.code_for("/not.served.Service/Method", "nobody") is _Code.UNIMPLEMENTED
    check = HealthStub(system.channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert check.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.variant
def test_two_headers_are_refused_even_if_both_are_good(system: System) -> None:
    good = system.keys.metadata("echoer")
    assert system.code(f"/{ECHO}/Unary", good + good) is _Code.UNAUTHENTICATED


@pytest.mark.variant
def test_a_role_may_permit_one_method_of_a_service(system: System) -> None:
    assert system.code_for(f"/{COMPUTE}/Add", "adder") is _Code.INVALID_ARGUMENT
    assert system.code_for(f"/{COMPUTE}/Factorial", "adder") is _Code.PERMISSION_DENIED


def listed(system: System, subject: str) -> set[str]:
    """The services that the subject sees by reflection."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = ask(system, subject, request)
    return {service.name for service in answer.list_services_response.service}


def ask(system: System, subject: str, *requests: Any) -> list[Any]:
    rpc = system.channel.stream_stream(
        REFLECTION[0],
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    metadata = system.keys.metadata(subject)
    return list(rpc(iter(requests), metadata=metadata, timeout=TIMEOUT_S))


@pytest.mark.variant
def test_reflection_shows_what_the_caller_may_call(system: System) -> None:
    of_all = {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        CALLS,  # its WhoAmI
    }
    assert listed(system, "nobody") == of_all
    assert listed(system, "adder") == of_all | {COMPUTE}
    assert listed(system, "reader") == of_all | {OPERATIONS}
    wanted = (f"{COMPUTE}.Add", f"{COMPUTE}.Factorial", ECHO, "tests.echo.v1.EchoRequest")
    symbols = (
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in wanted
    )
    answers = [one.WhichOneof("message_response") for one in ask(system, "adder", *symbols)]
    assert answers == ["file_descriptor_response"] + ["error_response"] * 3
    by_name = reflection_pb2.ServerReflectionRequest(file_by_filename="tests/echo/v1/echo.proto")
    assert ask(system, "adder", by_name)[0].HasField("error_response")
    assert ask(system, "echoer", by_name)[0].HasField("file_descriptor_response")


@pytest.mark.variant
def test_a_caller_can_ask_who_it_is(system: System) -> None:
    answer = CallServiceStub(system.channel).WhoAmI(
        calls_pb2.WhoAmIRequest(), metadata=system.keys.metadata("adder"), timeout=TIMEOUT_S
    )
    assert (answer.authenticated, answer.tenant, answer.subject) == (True, "acme", "adder")
    assert (answer.issuer, list(answer.roles)) == ("keys", ["adder"])
    assert list(answer.permissions) == [f"{COMPUTE}.Add"]
    assert list(answer.methods) == [f"{COMPUTE}.Add"]
    assert not answer.HasField("expire_time")


def test_an_rpc_ends_when_its_token_expires(system: System) -> None:
    watch = HealthStub(system.channel).Watch(
        health_pb2.HealthCheckRequest(), metadata=system.jwt("reader", 1.5), timeout=TIMEOUT_S
    )
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as ended:
        next(watch)
    assert ended.value.code() is _Code.UNAUTHENTICATED
    assert "expired" in ended.value.details()
    assert system.code(f"/{CALLS}/WhoAmI", system.jwt("reader", -1)) is _Code.UNAUTHENTICATED


@pytest.mark.variant
def test_a_stream_whose_token_expires_goes_on_with_a_fresh_one(system: System) -> None:
    stub = EchoServiceStub(system.channel)
    request = echo_pb2.EchoRequest(count=40, seconds=0.1, text="x")
    call_id = ("forebay-call-id", f"expires-{time.time_ns()}")

    got: list[int] = []

    def read(token: list[Pair]) -> grpc.StatusCode:
        resume = ("forebay-resume-from", str(len(got)))
        metadata = [*token, call_id, resume]
        try:
            for response in stub.ServerStream(request, metadata=metadata, timeout=TIMEOUT_S):
                if not response.transient:
                    got.append(response.index)
        except grpc.RpcError as error:
            return error.code()
        return _Code.OK

    with echo_worker(system.env):
        codes = [read(system.jwt("echoer", lasts_s)) for lasts_s in (2, 2, 60)]
    assert codes[0] is _Code.UNAUTHENTICATED
    assert codes[-1] is _Code.OK
    assert got == list(range(40))


@pytest.mark.variant
def test_the_python_client_resumes_with_a_fresh_token_by_itself(system: System) -> None:
    made: list[str] = []

    def token() -> str:
        ((_, value),) = system.jwt("echoer", 2)
        made.append(str(value).removeprefix("Bearer "))
        return made[-1]

    request = echo_pb2.EchoRequest(count=40, seconds=0.1, text="x")
    with echo_worker(system.env), forebay.channel(system.address, token=token) as channel:
        stream = EchoServiceStub(channel).ServerStream(request, timeout=60)
        got = [response.index for response in stream if not response.transient]
    assert got == list(range(40))
    assert len(made) >= 2


def test_a_gateway_open_to_a_network_does_not_start_without_tls_and_authentication() -> None:
    for flags in ((), ("--processes", "2")):
        command = ("forebay", "gateway", "--listen", "0.0.0.0:0", *flags)
        with short_folder() as folder:
            ran = run(*command, env=environment(FOREBAY_DATA_DIR=str(folder / "data")))
        assert ran.code == 1
        assert "a gateway needs [tls] and [auth]" in ran.err
        assert "insecure = true" in ran.err
        assert "Traceback" not in ran.err


@pytest.mark.variant
def test_unknown_roles_and_permissions_keep_a_gateway_from_starting() -> None:
    with short_folder() as folder:
        keys = Keys(folder / "keys.toml")
        keys.add("boss", "boss")
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            **keys.variables({"caller": ["forebay.compute.v1.ComputService.*"]}),
        )
        ran = run("forebay", "gateway", "--listen", "127.0.0.1:0", env=env)
    assert ran.code == 1
    assert "'forebay.compute.v1.ComputService.*' is the permission of no method" in ran.err
    assert "no role 'boss'" in ran.err
    assert "Traceback" not in ran.err
