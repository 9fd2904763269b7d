"""Backends with private CAs, client certificates, and users that may use one prefix only."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis

from forebay.cli.target import Target
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_backends.settings import given_settings
from forebay_gateway.cli.doctor import examine
from forebay_gateway.cli.finding import Finding
from forebay_gateway.server.methods import load_methods
from tests.certificates import Authority, Issued
from tests.contract.applications import write_services
from tests.harness import (
    answers,
    environment,
    eventually,
    forebay_gateway,
    free_port,
    process,
    redis_server,
    short_folder,
    worker,
)
from tests.rabbitmq import rabbitmq_node, require_rabbitmq
from tests.redis_fleets import Node, redis_cluster, require_redis, sentinel_fleet

_CALL_S = 20.0
_QUEUES = ("-Q", "add,factorial,mat_mul", "-c", "1")
PREFIX = "myapp:"


@dataclass(frozen=True)
class Site:
    """Two CAs, a certificate of each, and the ports of servers that ask for a client's."""

    ours: Authority
    others: Authority
    client: Issued
    stranger: Issued
    redis_port: int

    def variables(self, **more: str) -> dict[str, str]:
        """The correct settings, overridden by `more`."""
        return {
            "FOREBAY_TLS_CA": str(self.ours.ca),
            "FOREBAY_TLS_CERTIFICATE": str(self.client.certificate),
            "FOREBAY_TLS_KEY": str(self.client.key),
            "FOREBAY_LEDGER_URL": f"rediss://localhost:{self.redis_port}",
            **more,
        }


@pytest.fixture(scope="module")
def tls() -> Iterator[Site]:
    require_redis()
    with short_folder() as folder:
        ours, others = Authority(folder, "ours"), Authority(folder, "others")
        server = ours.issue("server", "localhost")
        client, stranger = ours.issue("client"), others.issue("stranger")
        port = free_port()
        command = ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1"]
        files = ["--tls-cert-file", str(server.certificate), "--tls-key-file", str(server.key)]
        command += [*files, "--tls-ca-cert-file", str(ours.ca), "--dir", str(folder)]
        with process(*command, "--save", "", "--appendonly", "yes", env=environment()):
            check = redis.Redis(
                host="localhost",
                port=port,
                ssl=True,
                ssl_ca_certs=str(ours.ca),
                ssl_certfile=str(client.certificate),
                ssl_keyfile=str(client.key),
            )
            eventually(lambda: answers(check), "the Redis server answers")
            check.close()
            yield Site(ours, others, client, stranger, port)


@contextlib.contextmanager
def stub_of(variables: dict[str, str]) -> Iterator[ComputeServiceStub]:
    """A gateway and a worker with these settings."""
    env = environment(**variables)
    with (
        forebay_gateway(env=env) as (_, address),
        worker(*_QUEUES, env=env),
        grpc.insecure_channel(address) as channel,
    ):
        yield ComputeServiceStub(channel)


def calls_succeed(stub: ComputeServiceStub) -> None:
    """A durable call, an ephemeral one and a stream."""
    durable = (("forebay-call-id", f"call-{id(stub)}"),)
    for metadata in ((), durable):
        request = pb.AddRequest(x=4, y=6)
        assert stub.Add(request, timeout=_CALL_S, metadata=metadata).sum == 10
    assert list(stub.Factorial(pb.FactorialRequest(n=30), timeout=_CALL_S))


def doctor(variables: dict[str, str]) -> str:
    """The output of `forebay doctor` about the backends."""
    command = ["forebay", "doctor", "--listen", "127.0.0.1:1"]
    env = environment(**variables)
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    return ran.stdout + ran.stderr


def test_one_setting_serves_gateway_worker_and_doctor(tls: Site) -> None:
    variables = tls.variables()
    assert f"ok      ledger: rediss://localhost:{tls.redis_port}/0" in doctor(variables)
    with stub_of(variables) as stub:
        calls_succeed(stub)


@pytest.mark.variant
def test_an_application_has_certificates_of_its_own(tls: Site, tmp_path: Path) -> None:
    write_services(tmp_path, ["shop"])
    own = {
        "BROKER_URL": f"rediss://localhost:{tls.redis_port}/4",
        "RESULT_URL": f"rediss://localhost:{tls.redis_port}/5",
        "TLS_CA": str(tls.ours.ca),
        "TLS_CERTIFICATE": str(tls.client.certificate),
        "TLS_KEY": str(tls.client.key),
    }
    variables = {
        "FOREBAY_SERVICES": f'["{tmp_path}/apps.binpb"]',
        "FOREBAY_ROUTES": str(tmp_path / "routes.toml"),
        # The main ones are another CA's, so that they don't help.
        "FOREBAY_TLS_CA": str(tls.others.ca),
        **_as_stranger(tls),
        **{f"FOREBAY_APPLICATIONS__SHOP__{name}": value for name, value in own.items()},
    }
    found = doctor(variables)
    assert f"ok      broker of application 'shop': rediss://localhost:{tls.redis_port}/4" in found
    assert "ok      result backend of application 'shop': rediss://localhost" in found
    del variables["FOREBAY_APPLICATIONS__SHOP__TLS_CA"]
    found = doctor(variables)
    assert "problem broker of application 'shop'" in found
    assert found.count("fix: set applications.shop.tls_ca to the file of its CA") == 2
    variables["FOREBAY_APPLICATIONS__SHOP__TLS_CA"] = str(tls.ours.ca)
    variables["FOREBAY_APPLICATIONS__SHOP__TLS_CERTIFICATE"] = str(tls.stranger.certificate)
    variables["FOREBAY_APPLICATIONS__SHOP__TLS_KEY"] = str(tls.stranger.key)
    found = doctor(variables)
    both = "applications.shop.tls_certificate and applications.shop.tls_key"
    assert found.count(f"fix: set {both} to") == 2


def test_options_of_the_url_do_the_same_in_the_spelling_of_celery(tls: Site) -> None:
    url = (
        f"rediss://localhost:{tls.redis_port}/1?ssl_cert_reqs=CERT_REQUIRED"
        f"&ssl_ca_certs={tls.ours.ca}"
        f"&ssl_certfile={tls.client.certificate}&ssl_keyfile={tls.client.key}"
    )
    with stub_of({"FOREBAY_LEDGER_URL": url}) as stub:
        calls_succeed(stub)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("ca", "CERTIFICATE_VERIFY_FAILED"),
        ("none of ours", "CERTIFICATE_VERIFY_FAILED"),
        ("host name", "IP address mismatch"),
        ("client", "refuses the client certificate: TLS alert `unknown ca`"),
        ("no client", "requires a client certificate: TLS alert `certificate required`"),
    ],
)
def test_wrong_tls_settings_are_refused_and_reported(tls: Site, wrong: str, expected: str) -> None:
    variables = tls.variables()
    if wrong == "ca":
        variables["FOREBAY_TLS_CA"] = str(tls.others.ca)
    elif wrong == "none of ours":
        del variables["FOREBAY_TLS_CA"]
    elif wrong == "host name":
        variables["FOREBAY_LEDGER_URL"] = f"rediss://127.0.0.1:{tls.redis_port}"
    elif wrong == "no client":
        del variables["FOREBAY_TLS_CERTIFICATE"], variables["FOREBAY_TLS_KEY"]
    else:
        variables |= _as_stranger(tls)
    output = doctor(variables)
    assert "problem ledger: rediss://" in output
    assert expected in output
    of_client = "client" in wrong
    names = "FOREBAY_TLS_CERTIFICATE and FOREBAY_TLS_KEY" if of_client else "FOREBAY_TLS_CA"
    assert output.count(f"fix: set {names} to") == 2  # ledger and broker
    assert "Traceback" not in output


def _as_stranger(tls: Site) -> dict[str, str]:
    """A client certificate of another CA."""
    return {
        "FOREBAY_TLS_CERTIFICATE": str(tls.stranger.certificate),
        "FOREBAY_TLS_KEY": str(tls.stranger.key),
    }


def test_a_refused_certificate_is_named_though_resets_may_overtake_the_alert(tls: Site) -> None:
    """One connection in twenty loses the alert: what the client sends is answered by a reset."""
    given = {"ledger_url": tls.variables()["FOREBAY_LEDGER_URL"], "tls_ca": str(tls.ours.ca)}
    certificate, key = tls.stranger.certificate, tls.stranger.key
    settings = given_settings(**given, tls_certificate=str(certificate), tls_key=str(key))
    target = Target("127.0.0.1:1", insecure=True)

    async def findings() -> list[Finding]:
        return await examine(settings, load_methods(settings), target)

    for _ in range(25):
        ledger, broker, *_ = asyncio.run(findings())
        assert "refuses the client certificate" in ledger.description
        assert "refuses the client certificate" in broker.description


def test_verification_is_turned_off_by_the_url_alone(tls: Site) -> None:
    url = f"rediss://127.0.0.1:{tls.redis_port}/2?ssl_cert_reqs=none"
    variables = tls.variables(FOREBAY_TLS_CA=str(tls.others.ca), FOREBAY_LEDGER_URL=url)
    refused = doctor(variables)
    assert "ledger_url has ssl_cert_reqs=none" in refused
    assert "insecure = true" in refused
    variables["FOREBAY_INSECURE"] = "true"
    with stub_of(variables) as stub:
        calls_succeed(stub)


def test_celery_verifies_its_broker_too(tls: Site) -> None:
    env = environment(**tls.variables(FOREBAY_TLS_CA=str(tls.others.ca)))
    command = ["celery", "-A", "forebay_workers", "worker", "-Q", "add", "--without-mingle"]
    with process(*command, "-c", "1", env=env) as celery:
        celery.wait_for("CERTIFICATE_VERIFY_FAILED|certificate verify failed")


@pytest.mark.variant
def test_rabbitmq_with_tls_and_client_certificates(tls: Site) -> None:
    require_rabbitmq()
    server = tls.ours.issue("rabbit", "localhost")
    with rabbitmq_node(tls=(tls.ours.ca, server)) as node, redis_server() as ledger:
        right = tls.variables(
            FOREBAY_LEDGER_URL=ledger, FOREBAY_BROKER_URL=node.tls_url("localhost", "redis")
        )
        with stub_of(right) as stub:
            calls_succeed(stub)
        assert "ok      broker: amqps://***@localhost" in doctor(right)
        for change, expected in (
            ({"FOREBAY_TLS_CA": str(tls.others.ca)}, "certificate verify failed"),
            ({"FOREBAY_BROKER_URL": node.tls_url("127.0.0.1", "redis")}, "IP address mismatch"),
            (_as_stranger(tls), "refuses the client certificate: TLS alert `unknown ca`"),
        ):
            output = doctor({**right, **change})
            assert "problem broker: amqps://" in output
            assert expected in output


@pytest.fixture
def shared() -> Iterator[tuple[str, Any]]:
    """A Redis with a user that is restricted to the prefix; its URL, and a client of the admin."""
    with redis_server() as url, contextlib.closing(redis.Redis.from_url(url)) as admin:
        rules = ["on", ">pw", f"~{PREFIX}*", f"&{PREFIX}*", "+@all", "-@dangerous", "+info"]
        admin.execute_command("ACL", "SETUSER", "app", *rules)
        yield url.replace("redis://", "redis://app:pw@"), admin


def test_a_key_prefix_applies_to_every_key_and_channel(shared: tuple[str, Any]) -> None:
    url, admin = shared
    with stub_of({"FOREBAY_LEDGER_URL": url, "FOREBAY_KEY_PREFIX": PREFIX}) as stub:
        calls_succeed(stub)
        channels = admin.execute_command("PUBSUB", "CHANNELS")
        assert channels
        assert all(channel.startswith(PREFIX.encode()) for channel in channels)
    keys = admin.keys("*")
    assert keys
    assert all(key.startswith(PREFIX.encode()) for key in keys)
    refused = [entry for entry in admin.acl_log() if entry["reason"] in ("key", "channel")]
    assert refused == []


@pytest.mark.variant
@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_a_key_prefix_applies_to_clusters_and_behind_sentinels(kind: str) -> None:
    with contextlib.ExitStack() as stack:
        nodes: Sequence[Node]
        variables = {"FOREBAY_KEY_PREFIX": PREFIX}
        if kind == "cluster":
            cluster = stack.enter_context(redis_cluster(replicas=0))
            nodes = cluster.nodes
            variables["FOREBAY_LEDGER_URL"] = cluster.url
            variables["FOREBAY_BROKER_URL"] = stack.enter_context(redis_server())
        else:
            fleet = stack.enter_context(sentinel_fleet())
            nodes = [fleet.master]
            variables["FOREBAY_LEDGER_URL"] = fleet.url()
        with stub_of(variables) as stub:
            calls_succeed(stub)
        keys = [key for node in nodes for key in node.client.keys("*")]
        assert keys
        assert [key for key in keys if not key.startswith(PREFIX.encode())] == []


def test_without_its_prefix_the_missing_permission_is_reported(shared: tuple[str, Any]) -> None:
    url, _ = shared
    env = environment(FOREBAY_LEDGER_URL=url)
    with (
        forebay_gateway(env=env) as (gateway, address),
        grpc.insecure_channel(address) as channel,
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ComputeServiceStub(channel).Add(pb.AddRequest(x=4, y=6), timeout=_CALL_S)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        gateway.wait_for("NoPermissionError: .*permissions")
    assert "does not permit its user a command" in doctor({"FOREBAY_LEDGER_URL": url})


def test_two_deployments_share_a_server_by_their_prefixes(shared: tuple[str, Any]) -> None:
    url, admin = shared
    admin.execute_command("ACL", "SETUSER", "app", "~other:*", "&other:*")
    with (
        stub_of({"FOREBAY_LEDGER_URL": url, "FOREBAY_KEY_PREFIX": PREFIX}) as stub,
        stub_of({"FOREBAY_LEDGER_URL": url, "FOREBAY_KEY_PREFIX": "other:"}) as other,
    ):
        calls_succeed(stub)
        calls_succeed(other)
        same = (("forebay-call-id", "same"),)
        assert stub.Add(pb.AddRequest(x=1, y=1), metadata=same, timeout=_CALL_S).sum == 2
        assert other.Add(pb.AddRequest(x=2, y=2), metadata=same, timeout=_CALL_S).sum == 4
