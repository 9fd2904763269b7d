"""Plain Celery tasks: a tenant that floods their queue beside one that makes a call."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.contract.plain_site import plain_worker, wish
from tests.harness import Process, environment, eventually, forebay_gateway, redis_server
from tests.plain.v1.plain_pb2_grpc import PlainServiceStub
from tests.tenancy.running import TIMEOUT_S, Tenants

pytestmark = pytest.mark.variant
ROOT = Path(__file__).parents[2]
FLOOD = 60
WORK_S = 0.1
SLOTS = 2


@dataclass
class Site:
    """A gateway of plain tasks."""

    gateway: Process
    address: str
    tenants: Tenants

    def start(self, tenant: str, method: str, request: Any) -> Any:
        """Starts a call; its connection stays open."""
        channel = grpc.insecure_channel(self.address)
        pairs = (("authorization", f"Bearer {self.tenants.token(tenant)}"),)
        call = getattr(PlainServiceStub(channel), method)
        return call.future(request, metadata=pairs, timeout=TIMEOUT_S)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """With a worker of two slots."""
    tenants = Tenants(tmp_path, "flood", "light")
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(redis_server())
        env = environment(
            PLAIN_BROKER_URL=url,
            PLAIN_RESULT_BACKEND=url,
            FOREBAY_BROKER_URL=url,
            FOREBAY_RESULT_URL=url,
            FOREBAY_SERVICES='["tests.plain.v1.plain_pb2"]',
            **tenants.settings(any={"weight": 1}),
        )
        stack.enter_context(plain_worker(env, "--concurrency", str(SLOTS)))
        gateway, address = stack.enter_context(forebay_gateway(env=env, cwd=ROOT))
        yield Site(gateway, address, tenants)


def sleeps(seconds: float) -> Any:
    """A request whose task sleeps."""
    return wish("evaluate", f"__import__('time').sleep({seconds})")


def test_the_light_tenant_does_not_wait_for_the_flood(site: Site) -> None:
    site.start("light", "Do", sleeps(0)).result()
    time.sleep(1.5)  # until the gateway knows the slots
    calls = [site.start("flood", "DoAnyhow", sleeps(WORK_S)) for _ in range(FLOOD)]
    site.start("light", "Do", sleeps(WORK_S)).result()
    left = sum(not call.done() for call in calls)
    assert left > FLOOD / 3, "the light tenant's call overtook most of the flood"
    for call in calls:
        call.result()


def test_a_cancelled_call_leaves_its_place_and_a_detached_one_keeps_it(
    site: Site, tmp_path: Path
) -> None:
    blocking = [site.start("flood", "DoDetached", sleeps(0.5)) for _ in range(40)]
    given_up = site.start("flood", "DoAnyhow", _touches(tmp_path / "given up"))
    kept = site.start("flood", "DoDetached", _touches(tmp_path / "kept"))
    eventually(lambda: any(call.done() for call in blocking), "the flood runs")
    given_up.cancel()
    kept.cancel()
    for call in blocking[-30:]:
        call.cancel()  # their tasks run all the same: they are detached
    eventually((tmp_path / "kept").exists, "the detached task runs")
    assert not (tmp_path / "given up").exists()


def _touches(path: Path) -> Any:
    """A request whose task makes the file."""
    return wish("touch_then_sleep", {"begun": str(path), "ended": str(path), "seconds": 0})
