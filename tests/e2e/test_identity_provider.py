"""Tokens of a real OpenID Connect server, which the gateway knows by its settings alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import grpc
import jwt
import pytest

from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_gateway.identity.jwt.fetched_keys import REFRESH_S
from tests.harness import (
    Process,
    environment,
    eventually,
    forebay_gateway,
    free_port,
    short_folder,
)
from tests.identity_provider import segment
from tests.oidc_server.running import RESOURCE, Client, OidcServer, installed, oidc_server
from tests.pages import DOCS, Reader
from tests.scraping import metric

pytestmark = pytest.mark.variant

ALGORITHMS = ("RS256", "ES256", "EdDSA")
REPORTS = Client("reports", "secret-of-reports")
OPERATORS = {
    name: Client(f"ops-{name}", f"of-{name}", "operator", "ops", name) for name in ALGORITHMS
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the server's program."""
    return installed(tmp_path_factory.mktemp("oidc"))


@pytest.fixture(scope="module")
def provider(program: Path) -> Iterator[OidcServer]:
    with oidc_server(program, REPORTS, *OPERATORS.values()) as server:
        yield server


@dataclass
class Gateway:
    """A gateway that accepts the server's tokens."""

    process: Process
    admin: str
    stub: CallServiceStub

    def call(self, token: str) -> str:
        """The status of a call with the token: `OK`, or CODE/REASON: …."""
        metadata = (("authorization", f"Bearer {token}"),)
        try:
            self.stub.ListMethods(calls_pb2.ListMethodsRequest(), metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            return str(of_rpc_error(error))
        return "OK"

    def who(self, token: str) -> calls_pb2.WhoAmIResponse:
        metadata = (("authorization", f"Bearer {token}"),)
        return self.stub.WhoAmI(calls_pb2.WhoAmIRequest(), metadata=metadata, timeout=30)

    @property
    def keys_age_s(self) -> float:
        """The time since it last had the keys from the provider."""
        [age_s] = metric(self.admin, "forebay_jwks_age_seconds")
        return age_s


@pytest.fixture(scope="module")
def gateway(provider: OidcServer) -> Iterator[Gateway]:
    with accepting(provider) as gateway:
        yield gateway


@contextmanager
def accepting(provider: OidcServer) -> Iterator[Gateway]:
    """A gateway that has the server's keys."""
    said = provider.discovered()
    entry = {
        "issuer": said["issuer"],
        "audiences": [RESOURCE],
        "algorithms": ALGORITHMS,
        "jwks_url": said["jwks_uri"],
    }
    admin = f"127.0.0.1:{free_port()}"
    with short_folder() as folder:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_ADMIN_LISTEN=admin,
            FOREBAY_AUTH=json.dumps({"jwt": [entry]}),
            FOREBAY_ROLES=json.dumps({"operator": ["forebay.calls.queues"]}),
        )
        with (
            forebay_gateway(env=env) as (process, address),
            grpc.insecure_channel(address) as channel,
        ):
            yield Gateway(process, admin, CallServiceStub(channel))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_by_client_credentials_is_accepted(
    provider: OidcServer, gateway: Gateway, algorithm: str
) -> None:
    token = provider.token(OPERATORS[algorithm])
    assert gateway.call(token) == "OK"
    who = gateway.who(token)
    assert (who.tenant, who.subject, list(who.roles)) == ("ops", f"ops-{algorithm}", ["operator"])
    assert who.issuer == provider.issuer


def test_the_scope_of_a_token_decides_what_for(provider: OidcServer, gateway: Gateway) -> None:
    assert gateway.call(provider.token(REPORTS)).startswith("PERMISSION_DENIED/PERMISSION_DENIED: ")


def test_a_token_for_another_resource_is_refused(provider: OidcServer, gateway: Gateway) -> None:
    answer = gateway.call(provider.token(OPERATORS["RS256"], resource="urn:another"))
    assert answer.startswith("UNAUTHENTICATED/UNAUTHENTICATED: ")
    assert "another audience" in answer


def test_a_wrong_secret_gets_no_token(provider: OidcServer) -> None:
    with pytest.raises(HTTPError) as refused:
        provider.token(REPORTS, secret="wrong")  # noqa: S106
    assert refused.value.code == 401
    refused.value.close()


def of_unknown_key(token: str) -> str:
    """The token with a key id that its issuer does not have."""
    _, rest = token.split(".", 1)
    return f"{segment({**jwt.get_unverified_header(token), 'kid': 'unknown'})}.{rest}"


@pytest.mark.timeout(300)
def test_known_keys_serve_while_the_provider_is_down(program: Path) -> None:
    port, operator = free_port(), OPERATORS["RS256"]
    with ExitStack() as running:
        with oidc_server(program, operator, port=port) as provider:
            gateway = running.enter_context(accepting(provider))
            eventually(lambda: gateway.call(provider.token(operator)) == "OK", "it has the keys")
            used, unused = provider.token(operator), provider.token(operator)
            assert gateway.call(used) == "OK"
        gateway.process.wait_for("fetching the keys of .* is interrupted")
        eventually(lambda: gateway.keys_age_s > REFRESH_S, "the keys should be fetched again")
        assert sum(metric(gateway.admin, "forebay_identity_problems")) == 1
        assert gateway.call(used) == "OK"
        assert gateway.call(unused) == "OK", "its signature was not verified before"
        refused = gateway.call(of_unknown_key(unused))
        assert refused.startswith("UNAUTHENTICATED/UNAUTHENTICATED: ")
        assert "key is not one of its issuer's" in refused
        with oidc_server(program, operator, port=port) as restarted:
            gateway.process.wait_for("fetching the keys of .* resumes")
            assert gateway.call(restarted.token(operator)) == "OK"
            assert gateway.call(used).startswith("UNAUTHENTICATED/"), "its key is replaced"
            assert sum(metric(gateway.admin, "forebay_identity_problems")) == 0


def test_a_token_is_got_and_used_as_the_page_says(provider: OidcServer, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "secret.txt").write_text(REPORTS.secret)
    with short_folder() as data:
        env = environment(
            FOREBAY_LISTEN=address, FOREBAY_ADDRESS=address, FOREBAY_DATA_DIR=str(data)
        )
        with Reader(tmp_path, env, {"https://login.example": provider.issuer}) as reader:
            reader.read(DOCS / "tokens.md", "JWTs of an identity provider")
