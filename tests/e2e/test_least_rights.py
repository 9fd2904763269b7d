"""Gateways and workers run with the rights that `forebay acl` prints, and with no more."""

from __future__ import annotations

import contextlib
import shlex
import uuid
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.commands import run
from tests.harness import environment, eventually, forebay_gateway, redis_server, worker
from tests.rabbitmq import RabbitMQ, rabbitmq_node, require_rabbitmq

CALL_S = 20.0
USERS = ("forebay-gateway", "forebay-worker")
DENIED = ("KEYS *", "CONFIG GET *", "FLUSHALL", "MONITOR", "SHUTDOWN NOSAVE")


def give_rights(variables: dict[str, str], *servers: redis.Redis) -> None:
    """Makes the users with the rules that the command prints for each server."""
    printed = run("forebay", "acl", env=environment(**variables))
    assert printed.code == 0, printed.err
    sections = printed.out.split("# ")[1:]
    assert len(sections) == len(servers)
    for section, server in zip(sections, servers, strict=True):
        for line in section.splitlines()[1:]:
            _, user, *rules = line.split(" ")
            server.execute_command("ACL", "SETUSER", user, *rules)


def as_user(url: str, user: str) -> str:
    password = "GATEWAY-PASSWORD" if user == USERS[0] else "WORKER-PASSWORD"
    return url.replace("://", f"://{user}:{password}@")


@contextlib.contextmanager
def system(gateway: dict[str, str], running: dict[str, str]) -> Iterator[ComputeServiceStub]:
    with (
        forebay_gateway(env=environment(**gateway)) as (_, address),
        worker("-Q", "add,factorial,mat_mul", "-c", "2", env=environment(**running)),
        grpc.insecure_channel(address) as channel,
    ):
        yield ComputeServiceStub(channel)


def calls_of_every_kind(stub: ComputeServiceStub) -> None:
    """Ephemeral, durable, streams both ways, and one that is cancelled and one that is resumed."""
    durable = (("forebay-call-id", str(uuid.uuid4())),)
    for metadata in ((), durable):
        request = pb.AddRequest(x=4, y=6)
        assert stub.Add(request, timeout=CALL_S, metadata=metadata).sum == 10
    assert list(stub.Factorial(pb.FactorialRequest(n=30), timeout=CALL_S))
    later = (("forebay-start-after", "300ms"),)
    assert list(stub.Factorial(pb.FactorialRequest(n=31), timeout=CALL_S, metadata=later))
    operands = pb.MatMulRequest(random=pb.RandomOperands(m=2, n=2))
    assert list(stub.MatMul(iter([operands]), timeout=CALL_S))
    cancelled = stub.Factorial(pb.FactorialRequest(n=500_000), timeout=CALL_S)
    next(iter(cancelled))
    cancelled.cancel()
    assert stub.Add(pb.AddRequest(x=4, y=6), timeout=CALL_S, metadata=durable).sum == 10


def kombu_did_its_periodic_work(broker: redis.Redis) -> None:
    """Waits until a worker restored messages and, for remote control, swept old bindings."""
    commands = {"cmdstat_zrange", "cmdstat_zrangebyscore"}
    eventually(lambda: commands <= broker.info("commandstats").keys(), "kombu's periodic work")


def nothing_was_denied(*servers: redis.Redis) -> None:
    for server in servers:
        denied = [
            (entry["reason"], entry["object"], entry["username"])
            for entry in server.acl_log()
            # Both are asked for once, and done without.
            if entry["object"] not in ("client|setinfo", "config|get")
        ]
        assert denied == []


@pytest.mark.parametrize("prefix", ["", pytest.param("myapp:", marks=pytest.mark.variant)])
@pytest.mark.parametrize("signed", [True, pytest.param(False, marks=pytest.mark.variant)])
def test_one_redis(prefix: str, signed: bool, tmp_path: Path) -> None:
    with redis_server() as url, redis.Redis.from_url(url, decode_responses=True) as admin:
        variables = {"FOREBAY_LEDGER_URL": url, "FOREBAY_KEY_PREFIX": prefix}
        if signed:
            keys = tmp_path / "keys.toml"
            keys.write_text(f'[keys]\nnew = "{b64encode(b"k" * 32).decode()}"\n')
            variables["FOREBAY_SIGNING_KEYS"] = str(keys)
        give_rights(variables, admin)
        own = [variables | {"FOREBAY_LEDGER_URL": as_user(url, user)} for user in USERS]
        with system(*own) as stub:
            calls_of_every_kind(stub)
            nothing_was_denied(admin)
        nothing_was_denied(admin)
        for user in USERS:
            with redis.Redis.from_url(as_user(url, user)) as client:
                for command in DENIED:
                    with pytest.raises(redis.exceptions.NoPermissionError):
                        client.execute_command(*shlex.split(command))
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.get("another application's")
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.publish("another application's", "")
        found = run("forebay", "doctor", "--listen", "127.0.0.1:1", env=environment(**own[1]))
        assert "ok      ledger" in found.out
        assert "ok      broker" in found.out


@pytest.mark.variant
def test_ledger_and_broker_on_two_servers() -> None:
    with (
        redis_server() as ledger,
        redis_server() as broker,
        redis.Redis.from_url(ledger, decode_responses=True) as of_ledger,
        redis.Redis.from_url(broker, decode_responses=True) as of_broker,
    ):
        urls = {"FOREBAY_LEDGER_URL": ledger, "FOREBAY_BROKER_URL": broker}
        give_rights(urls, of_ledger, of_broker)
        own = [{name: as_user(url, user) for name, url in urls.items()} for user in USERS]
        with system(*own) as stub:
            calls_of_every_kind(stub)
            kombu_did_its_periodic_work(of_broker)
        nothing_was_denied(of_ledger, of_broker)


@pytest.mark.variant
@pytest.mark.parametrize("remote_control", [False, True])
def test_rabbitmq(remote_control: bool, tmp_path: Path) -> None:
    require_rabbitmq()
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[keys]\nnew = "{b64encode(b"k" * 32).decode()}"\n')
    with (
        rabbitmq_node() as node,
        redis_server() as ledger,
        redis.Redis.from_url(ledger, decode_responses=True) as admin,
    ):
        urls = {"FOREBAY_LEDGER_URL": ledger, "FOREBAY_BROKER_URL": node.url("redis")}
        urls |= {
            "FOREBAY_SIGNING_KEYS": str(keys),
            "FOREBAY_REMOTE_CONTROL": str(remote_control).lower(),
        }
        give_rights(urls, admin)
        give_permissions(urls, node)
        own = [
            urls
            | {
                "FOREBAY_LEDGER_URL": as_user(ledger, user),
                "FOREBAY_BROKER_URL": node.url("redis").replace("guest:guest", f"{user}:secret"),
            }
            for user in USERS
        ]
        with system(*own) as stub:
            calls_of_every_kind(stub)
        found = run("forebay", "doctor", "--listen", "127.0.0.1:1", env=environment(**own[0]))
        assert "ok      broker" in found.out


def give_permissions(variables: dict[str, str], node: RabbitMQ) -> None:
    """Makes the users, with the permissions that the command prints."""
    printed = run("forebay", "acl", "--rabbitmq", env=environment(**variables))
    assert printed.code == 0, printed.err
    lines = printed.out.splitlines()
    assert len(lines) == len(USERS)
    for user, line in zip(USERS, lines, strict=True):
        node.control("add_user", user, "secret")
        program, *arguments = shlex.split(line)
        assert program == "rabbitmqctl"
        node.control(*arguments)
