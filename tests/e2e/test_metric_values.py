"""Metrics and lines of the log have the values of what happened."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay.metadata import CALL_ID
from tests.echo.gates import Gates
from tests.echo.running import ROOT, echo_environment, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually, forebay_gateway, free_port, redis_server
from tests.scraping import Samples, scraped, total
from tests.tenancy.running import Tenants, answer

pytestmark = pytest.mark.variant

SERVICE = "tests.echo.v1.EchoService"
TIMEOUT_S = 60.0
BLOCKING_CHECK = """
import time

class Blocking:
    def feed(self, request):
        time.sleep(0.5)

    def end(self):
        pass
"""


@dataclass
class Site:
    """A gateway that knows tenants, and a worker of one slot."""

    address: str
    admin: str
    worker: str
    tenants: Tenants
    processes: tuple[Process, Process]

    def both(self) -> Samples:
        """The metrics of gateway and worker together; their labels differ by `process`."""
        return {**scraped(self.admin), **scraped(self.worker)}

    def gateway(self, name: str, **labels: str) -> float:
        return total(scraped(self.admin), name, **labels)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    tenants = Tenants(tmp_path_factory.mktemp("keys"), "acme", "modest", "somebody", "else")
    admin, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    limits = {"acme": {"weight": 1}, "modest": {"in_flight": 1}}
    with redis_server() as url:
        env = echo_environment(
            FOREBAY_LEDGER_URL=url,
            FOREBAY_DRAIN_S="0.2",
            FOREBAY_LOG_FORMAT="json",
            **tenants.settings(**limits),
        )
        with (
            echo_worker(env, "prefork", 1, options=["--metrics", metrics]) as running,
            forebay_gateway("--admin-listen", admin, env=env, cwd=ROOT) as (gateway, address),
        ):
            yield Site(address, admin, metrics, tenants, (gateway, running))


def test_a_killed_child_is_a_lost_attempt_a_rerun_and_a_message_sent_again(
    site: Site, tmp_path: Path
) -> None:
    names = ("attempts_lost", "reruns", "messages_resent")

    def counted() -> list[float]:
        samples = site.both()
        return [total(samples, f"forebay_{name}_total", queue="echo") for name in names]

    before = counted()
    with site.tenants.calling("acme", site.address) as acme:
        dies_once = EchoRequest(act="die once", text=str(tmp_path / "died"), count=1)
        assert len(list(acme.start("Steady", dies_once))) == 1
    one_more = [value + 1 for value in before]
    eventually(lambda: counted() == one_more, f"one more of each than {before}")


@pytest.mark.parametrize("name", ["acme", "somebody"])
def test_lines_of_gateway_and_worker_name_the_tenant(site: Site, tmp_path: Path, name: str) -> None:
    dies_once = EchoRequest(act="die once", text=str(tmp_path / "died"))
    with site.tenants.calling(name, site.address) as tenant:
        call = tenant.start("QuickAgain", dies_once)
        answer("QuickAgain", call)
    call_id = dict(call.trailing_metadata())[CALL_ID]
    for process in site.processes:
        process.wait_for(f'"call_id": "{call_id}"')
        lines = [json.loads(line) for line in process.lines if f'"{call_id}"' in line]
        assert {line["tenant"] for line in lines} == {name}


def test_calls_that_run_and_wait_are_seen_at_worker_and_gateway(site: Site, tmp_path: Path) -> None:
    gates, method = Gates(tmp_path), f"{SERVICE}.Unary"

    def calls(address: str, state: str) -> float:
        return total(scraped(address), "forebay_calls", method=method, state=state)

    with site.tenants.calling("acme", site.address) as acme:

        def start(name: str) -> Any:
            gate = Gate(path=str(tmp_path / name))
            return acme.start("Unary", EchoRequest(act="pass the gate", text=name, gate=gate))

        runs = start("runs")
        eventually(lambda: gates.begun() == ["runs"], "the only slot is busy")
        waits = start("waits")
        eventually(lambda: calls(site.admin, "IN_FLIGHT") == 2, "the other call waits")
        assert calls(site.worker, "RUNNING") == 1
        assert calls(site.worker, "RESERVED") == 0, "from Redis, a worker takes what it can run"
        eventually(lambda: calls(site.admin, "RUNNING") == 1, "the gateway knows the fleet's")
        eventually(lambda: site.gateway("forebay_watches") == 2, "both are followed")
        assert site.gateway("forebay_tenant_calls", tenant="acme", state="IN_FLIGHT") == 2
        assert site.gateway("forebay_tenant_calls", tenant="acme", state="WAITING") >= 1
        for name, call in (("runs", runs), ("waits", waits)):
            gates.open(name)
            assert answer("Unary", call).text == name
    eventually(lambda: calls(site.worker, "RUNNING") == 0, "the worker is idle")
    eventually(lambda: site.gateway("forebay_watches") == 0, "nobody follows a call")
    eventually(lambda: calls(site.admin, "IN_FLIGHT") == 0, "all have ended")


def test_decisions_of_the_guard_quotas_and_held_bytes_are_counted(site: Site) -> None:
    ballast = EchoRequest(act="sleep", seconds=60, count=1, ballast=bytes(100_000))

    def refused(tenant: str) -> float:
        return site.gateway("forebay_tenant_refused_total", tenant=tenant, quota="in_flight")

    def decided(result: str) -> float:
        return site.gateway("forebay_auth_total", result=result)

    before = decided("OK"), decided("UNAUTHENTICATED"), refused("modest")
    with grpc.insecure_channel(site.address) as channel, pytest.raises(grpc.RpcError):
        EchoServiceStub(channel).Unary(EchoRequest(), timeout=TIMEOUT_S)
    with contextlib.ExitStack() as stack:
        modest, somebody, other = (
            stack.enter_context(site.tenants.calling(name, site.address))
            for name in ("modest", "somebody", "else")
        )
        held = [tenant.start("ServerStream", ballast) for tenant in (modest, somebody, other)]
        for call in held:
            assert "forebay-attached" in dict(call.initial_metadata())
        assert site.gateway("forebay_held_bytes") >= 3 * 100_000
        assert site.gateway("forebay_tenant_calls", tenant="modest", state="IN_FLIGHT") == 1
        assert site.gateway("forebay_tenant_calls", tenant="other", state="IN_FLIGHT") == 2
        with pytest.raises(grpc.RpcError):
            answer("ServerStream", modest.start("ServerStream", ballast))
        for call in held:
            call.cancel()
    after = decided("OK"), decided("UNAUTHENTICATED"), refused("modest")
    assert after == (before[0] + 4, before[1] + 1, before[2] + 1)
    labels = {dict(has).get("tenant") for _, has in scraped(site.admin)}
    assert labels <= {None, "acme", "modest", "other"}
    eventually(lambda: site.gateway("forebay_held_bytes") == 0, "all bytes are released")


def test_a_check_that_blocks_the_event_loop_is_a_slow_callback_and_a_late_loop(
    tmp_path: Path,
) -> None:
    (tmp_path / "blocking.py").write_text(BLOCKING_CHECK)
    installed = tmp_path / "blocking-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: blocking\nVersion: 1\n")
    points = f"[forebay.checks]\n{SERVICE}.Quick = blocking:Blocking\n"
    (installed / "entry_points.txt").write_text(points)
    admin = f"127.0.0.1:{free_port()}"
    with redis_server() as url:
        env = echo_environment(
            FOREBAY_LEDGER_URL=url, FOREBAY_DRAIN_S="0", PYTHONPATH=str(tmp_path)
        )
        with (
            forebay_gateway("--admin-listen", admin, env=env, cwd=ROOT) as (gateway, address),
            grpc.insecure_channel(address) as channel,
        ):
            lag = "forebay_event_loop_lag_seconds"

            def was_seen() -> bool:
                with pytest.raises(grpc.RpcError):
                    EchoServiceStub(channel).Quick(EchoRequest(), timeout=1)
                found = scraped(admin)
                late = total(found, f"{lag}_count") - total(found, f"{lag}_bucket", le="0.1")
                slow = total(found, "forebay_event_loop_slow_callbacks_total")
                return late >= 1 and slow >= 1

            eventually(was_seen, "both are counted")
            gateway.wait_for("the event loop has run one callback for over 100 ms")
