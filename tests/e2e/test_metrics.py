"""Metrics and probes: `admin_listen` of a gateway of two processes, `--metrics` of a worker."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.error import HTTPError

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.commands import run
from tests.harness import (
    Process,
    environment,
    eventually,
    forebay_gateway,
    free_port,
    redis_server,
    worker,
)
from tests.scraping import Samples, scraped, total

SERVICE = "forebay.compute.v1.ComputeService"
RPC_COUNT = "rpc_server_call_duration_seconds_count"
OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@dataclass
class Site:
    """A gateway of two processes and a worker, both with metrics, on one Redis."""

    gateway: Process
    address: str
    admin: str
    worker: Process
    worker_metrics: str
    env: dict[str, str]

    def children(self, process: Process) -> list[int]:
        return [child.pid for child in psutil.Process(process.popen.pid).children()]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    admin, worker_metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with redis_server() as url:
        env = environment(FOREBAY_LEDGER_URL=url, FOREBAY_DRAIN_S="0.2")
        queues = ("-Q", "add,factorial,mat_mul", "--concurrency", "1")
        with (
            worker(*queues, "--metrics", worker_metrics, env=env) as running_worker,
            forebay_gateway("--processes", "2", "--admin-listen", admin, env=env) as gateway,
        ):
            yield Site(*gateway, admin, running_worker, worker_metrics, env)


def get(address: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    request = urllib.request.Request(f"http://{address}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def runs_at_worker(site: Site) -> float:
    return total(scraped(site.worker_metrics), "forebay_run_seconds_count")


def ended_rpcs(samples: Samples) -> float:
    """How many RPCs of ComputeService have ended, whatever their status."""
    return sum(
        value
        for (name, labels), value in samples.items()
        if name == RPC_COUNT and dict(labels)["rpc_method"].startswith(SERVICE)
    )


def processes(samples: Samples) -> set[str]:
    return {value for _, labels in samples for label, value in labels if label == "process"}


def call(site: Site) -> None:
    with grpc.insecure_channel(site.address) as channel:
        stub = ComputeServiceStub(channel)
        assert stub.Add(pb.AddRequest(x=1, y=2), timeout=60).sum == 3
        assert list(stub.Factorial(pb.FactorialRequest(n=30), timeout=60))
        with pytest.raises(grpc.RpcError):
            list(stub.Factorial(pb.FactorialRequest(n=10**12), timeout=60))


def test_calls_are_counted_in_gateway_and_worker(site: Site) -> None:
    before, runs = scraped(site.admin), runs_at_worker(site)
    call(site)
    # A caller may have the status before the gateway has counted its RPC.
    eventually(lambda: ended_rpcs(scraped(site.admin)) == ended_rpcs(before) + 3, "all have ended")
    after = scraped(site.admin)

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    add, factorial = f"{SERVICE}.Add", f"{SERVICE}.Factorial"
    for method in (add, factorial):
        assert grown("forebay_calls_accepted_total", method=method) == 1
        assert grown("forebay_calls_ended_total", method=method, reason="OK") == 1
        assert grown("forebay_queue_wait_seconds_count", method=method) == 1
        assert grown("forebay_run_seconds_count", method=method) == 1
        assert total(after, "forebay_calls", method=method, state="IN_FLIGHT") == 0
    assert grown("forebay_refused_total", method=factorial, reason="INVALID_REQUEST") == 1
    assert grown("forebay_items_total", method=factorial, kind="lasting") == 2
    assert grown("forebay_first_item_seconds_count", method=factorial) == 1
    assert grown("forebay_batch_size_count", method=add) == 1
    assert grown("forebay_ledger_seconds_count", operation="calls/accept") == 1
    path = f"{SERVICE}/Factorial"
    assert grown(RPC_COUNT, rpc_method=path, rpc_response_status_code="OK") == 1
    assert grown(RPC_COUNT, rpc_method=path, rpc_response_status_code="OUT_OF_RANGE") == 1
    for gauge in ("forebay_ledger_up", "forebay_broker_up"):
        assert total(after, gauge) == 2, "one of each process"
    assert total(after, "forebay_slots", queue="add") == 1
    assert total(after, "forebay_event_loop_lag_seconds_count") > 0
    assert processes(after) == {"1", "2"}
    eventually(lambda: runs_at_worker(site) == runs + 2, "the child reports")


def test_unknown_methods_share_a_series(site: Site) -> None:
    with grpc.insecure_channel(site.address) as channel:

        def call_unknown(number: int) -> None:
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(f"/x.Y/M{number}")(b"", timeout=30)

        def counted() -> float:
            return total(scraped(site.admin), RPC_COUNT, rpc_method="other")

        before = counted()
        for number in range(100):
            call_unknown(number)
        eventually(lambda: counted() == before + 100, "all are counted")
    _, text = get(site.admin, "/metrics")
    assert "x.Y" not in text
    assert text.count(f'{RPC_COUNT}{{process="1",rpc_method="other"') <= 1


def test_open_metrics_are_served_to_those_who_ask_for_them(site: Site) -> None:
    _, text = get(site.admin, "/metrics", OPEN_METRICS)
    assert {"forebay_calls_accepted", "forebay_slots"} <= {
        family.name for family in text_string_to_metric_families(text)
    }


def test_probes_and_grpc_share_the_port(site: Site) -> None:
    assert get(site.admin, "/healthz") == (200, "ok\n")
    eventually(lambda: get(site.admin, "/readyz") == (200, "ready\n"), "the gateway is ready")
    assert get(site.admin, "/nothing")[0] == 404
    with grpc.insecure_channel(site.admin) as channel:
        answer = HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    run("forebay", "ps", "--target", site.admin, env=site.env).succeeded()


def test_a_killed_process_leaves_no_value_behind(site: Site) -> None:
    call(site)
    killed = site.children(site.gateway)[0]
    accepted = "forebay_calls_accepted_total"
    before = total(scraped(site.admin), accepted)
    of_each = {number: total(scraped(site.admin), accepted, process=number) for number in "12"}
    assert sum(of_each.values()) == before
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: len(processes(scraped(site.admin))) == 1, "its values are gone")
    (left,) = processes(scraped(site.admin))
    assert total(scraped(site.admin), accepted) == of_each[left]
    eventually(lambda: processes(scraped(site.admin)) == {"1", "2"}, "it was replaced")
    assert total(scraped(site.admin), accepted) == of_each[left]


def test_a_childs_counts_survive_its_replacement(site: Site) -> None:
    before = runs_at_worker(site)
    call(site)
    eventually(lambda: runs_at_worker(site) == before + 2, "the child reports")
    (child,) = site.children(site.worker)
    os.kill(child, signal.SIGKILL)
    eventually(lambda: child not in site.children(site.worker), "the child was replaced")
    call(site)
    eventually(lambda: runs_at_worker(site) == before + 4, "the new child reports, too")


def test_a_port_in_use_is_a_clear_error(site: Site) -> None:
    gateway = run(
        "forebay", "gateway", "--listen", "127.0.0.1:0", "--admin-listen", site.admin, env=site.env
    )
    assert gateway.code == 1
    assert f"can't listen on admin_listen, {site.admin}: Address already in use" in gateway.err
    celery = ("celery", "-A", "forebay_workers", "worker", "--metrics")
    second = run(*celery, site.worker_metrics, env=site.env)
    assert f"can't serve metrics on {site.worker_metrics}: Address already in use" in second.err
    opened = run(*celery, "0.0.0.0:9464", env=site.env)
    assert "expected a loopback address" in opened.err
