"""The kind of server that answers at a URL, and the gateway's error for a wrong one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.server_check import ServerInfo, read_server_info, url_problem
from forebay_backends.urls import redis_server as parse
from tests.commands import run
from tests.harness import (
    environment,
    free_port,
    redis_server,
)
from tests.redis_fleets import Cluster, SentinelFleet, redis_cluster, sentinel_fleet


@pytest.fixture(scope="module")
def sentinels() -> Iterator[SentinelFleet]:
    with sentinel_fleet() as fleet:
        yield fleet


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with redis_cluster(masters=1, replicas=0) as cluster:
        yield cluster


async def test_fitting_urls_have_no_problem(
    sentinels: SentinelFleet, cluster: Cluster, redis_url: str
) -> None:
    for url in (sentinels.url(), cluster.url, f"{redis_url}0"):
        assert await url_problem(parse(url)) is None
    assert await url_problem(parse(f"redis://127.0.0.1:{free_port()}")) is None


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("redis://127.0.0.1:{sentinel}", "is a Sentinel; write its URL as sentinel://"),
        ("redis://127.0.0.1:{node}", "is a node of a Redis Cluster; write its URL as redis-cl"),
        ("redis-cluster://127.0.0.1:{single}", "is not in cluster mode; write its URL as redis:"),
    ],
)
async def test_a_url_of_the_wrong_kind_is_a_problem_and_no_gateway_starts(
    sentinels: SentinelFleet, cluster: Cluster, redis_url: str, form: str, expected: str
) -> None:
    url = form.format(
        sentinel=sentinels.sentinels[0],
        node=cluster.nodes[0].port,
        single=redis_url.rpartition(":")[2].strip("/"),
    )
    problem = await url_problem(parse(url))
    assert problem is not None
    assert expected in problem
    env = environment(FOREBAY_LEDGER_URL=url, FOREBAY_BROKER_URL=f"{redis_url}0")
    ran = run("forebay", "gateway", "--listen", "127.0.0.1:0", env=env)
    assert (ran.code, expected in ran.err, "Traceback" in ran.err) == (1, True, False)


@pytest.mark.parametrize("server", ["LEDGER", "BROKER"])
@pytest.mark.parametrize("kind", ["node of a Redis Cluster", "Sentinel"])
def test_a_worker_does_not_start_with_the_address_of_a_node_or_a_sentinel(
    sentinels: SentinelFleet, cluster: Cluster, redis_url: str, server: str, kind: str
) -> None:
    """Celery would connect again twenty times a second, and not say why."""
    port = sentinels.sentinels[0] if kind == "Sentinel" else cluster.nodes[0].port
    urls = {
        "FOREBAY_LEDGER_URL": f"{redis_url}0",
        "FOREBAY_BROKER_URL": f"{redis_url}0",
        f"FOREBAY_{server}_URL": f"redis://127.0.0.1:{port}",
    }
    ran = run("celery", "-A", "forebay_workers", "worker", "-Q", "add", env=environment(**urls))
    assert ran.code == 1
    expected = rf"forebay: {server.lower()}: redis://127.0.0.1:\d+\S* is a {kind}; .*"
    assert re.fullmatch(expected, ran.err.splitlines()[-1])
    assert "Traceback" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("LEDGER_URL", "redis://h?foo=bar", "no such option: 'foo'"),
        ("LEDGER_URL", "http://h", "is not a Redis or Valkey URL"),
        ("BROKER_URL", "redis://:pa/ss@h", "percent-encoding"),
        ("TLS_CA", "/absent.pem", "PEM file"),
    ],
)
def test_a_worker_with_a_wrong_setting_says_so_in_a_line(
    variable: str, value: str, expected: str
) -> None:
    env = environment(**{f"FOREBAY_{variable}": value})
    ran = run("celery", "-A", "forebay_workers", "worker", "-Q", "add", env=env)
    assert ran.code == 1
    assert expected in ran.err
    assert len(ran.err.splitlines()) == 1, ran.err
    assert "pa/ss" not in ran.err


def test_doctor_says_of_each_backend_that_celery_can_not_use_a_cluster(cluster: Cluster) -> None:
    url = f"redis://127.0.0.1:{cluster.nodes[0].port}"
    said = doctor(FOREBAY_LEDGER_URL=url)
    assert "problem ledger: redis://127.0.0.1" in said
    assert "problem broker: redis://127.0.0.1" in said
    assert said.count("Celery can't use a Cluster") == 2
    plain = doctor(
        FOREBAY_BROKER_URL=url,
        FOREBAY_RESULT_URL=url,
        FOREBAY_SERVICES='["tests.plain.v1.plain_pb2"]',
    )
    assert "problem result backend: redis://127.0.0.1" in plain
    assert plain.count("Celery can't use a Cluster") == 2


def test_doctor_says_of_each_backend_that_its_address_is_a_sentinels(
    sentinels: SentinelFleet,
) -> None:
    url = f"redis://127.0.0.1:{sentinels.sentinels[0]}"
    said = doctor(FOREBAY_LEDGER_URL=url)
    for backend in ("ledger", "broker"):
        expected = rf"problem {backend}: redis://127.0.0.1\S* is a Sentinel; write"
        assert re.search(expected, said), said


def doctor(**variables: str) -> str:
    """What `forebay doctor` says."""
    ran = run("forebay", "doctor", "--listen", "127.0.0.1:1", env=environment(**variables))
    assert "Traceback" not in ran.out + ran.err
    return ran.out + ran.err


async def test_properties_that_a_managed_server_hides_are_unknown() -> None:
    with redis_server() as url, closing(redis.Redis.from_url(url)) as admin:
        ledger = Ledger(url)
        shown = await read_server_info(ledger)
        assert (shown.mode, shown.append_only, shown.evicts_keys) == ("standalone", True, False)
        admin.execute_command("ACL", "SETUSER", "default", "-config", "-info")
        assert await read_server_info(ledger) == ServerInfo()
        await ledger.close()


def test_an_unreachable_sentinel_is_reported_without_its_password(tmp_path: Path) -> None:
    url = f"sentinel://u:topsecret@127.0.0.1:{free_port()}/main?sentinel_password=verysecret"
    said = doctor(FOREBAY_LEDGER_URL=url, HOME=str(tmp_path))
    assert "no Sentinel names a master 'main'" in said
    assert "secret" not in said
