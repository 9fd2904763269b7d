"""A Celery task is told of the end of each call, on every broker, also when the gateway is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import grpc
import pytest
from google.api_core.operations_v1 import OperationsClient

from tests.e2e.known_calls import new_id
from tests.harness import Process
from tests.told.running import ENDS, METHOD, RUNS, Told, call, left
from tests.told.servers import ABORTS, SLEEPS

pytestmark = pytest.mark.parametrize(
    "backend",
    ["redis", pytest.param("rabbitmq+redis", marks=pytest.mark.variant)],
    indirect=True,
    scope="module",
)


@dataclass(frozen=True)
class Site:
    """A gateway and a worker."""

    told: Told
    gateway: Process
    address: str


@pytest.fixture(scope="module")
def site(backend: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    told = Told(tmp_path_factory.mktemp("told"), backend)
    with told.worker(*RUNS, *ENDS), told.gateway() as (gateway, address):
        yield Site(told, gateway, address)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_the_task_is_told_of_a_success_with_its_times(site: Site) -> None:
    name = new_id()
    assert call(site.address, name) is grpc.StatusCode.OK
    ending = site.told.of(name)
    times = [ending.pop(f"{one}_time") for one in ("create", "queue", "begin", "finish")]
    assert ending == {
        "id": name,
        "tenant": "",
        "method": METHOD,
        "state": "SUCCEEDED",
        "reason": None,
        "attempt": 1,
        "start_time": None,
    }
    assert sorted(map(moment, times)) == list(map(moment, times))
    assert all(time.endswith("Z") for time in times)


def test_the_task_is_told_of_a_failure_and_of_a_deadline(site: Site) -> None:
    failed, late = new_id(), new_id()
    assert call(site.address, failed, ABORTS) is grpc.StatusCode.NOT_FOUND
    assert site.told.of(failed)["state"] == "FAILED"
    code = call(
        *(site.address, late, SLEEPS + 60_000),
        timeout=1.0,
        metadata=[("forebay-on-disconnect", "cancel")],
    )
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    ending = site.told.of(late)
    assert (ending["state"], ending["reason"]) in (
        ("EXPIRED", "DEADLINE_EXCEEDED"),
        ("CANCELLED", "CANCELLED"),
    )


def test_the_task_is_told_of_a_cancelled_call_that_never_ran(site: Site) -> None:
    name = new_id()
    left(site.address, name, forebay_start_after="20m")
    with grpc.insecure_channel(site.address) as channel:
        OperationsClient(channel).cancel_operation(f"operations/{name}")
    ending = site.told.of(name)
    assert (ending["state"], ending["reason"]) == ("CANCELLED", "CANCELLED")
    assert moment(ending["start_time"]) - moment(ending["create_time"]) == 1200
    assert (ending["queue_time"], ending["begin_time"]) == (None, None)


def test_the_task_is_told_when_the_gateway_is_gone(site: Site) -> None:
    name = new_id()
    with site.told.gateway() as (gateway, address):
        left(address, name, SLEEPS + 1500)
        gateway.stop(9)
    site.gateway.popen.send_signal(19)  # the other gateway can do nothing
    try:
        assert site.told.of(name)["state"] == "SUCCEEDED"
    finally:
        site.gateway.popen.send_signal(18)


def test_a_call_due_later_runs_and_then_the_task_is_told(site: Site) -> None:
    name = new_id()
    left(site.address, name, forebay_start_after="1.5s")
    ending = site.told.of(name)
    assert ending["state"] == "SUCCEEDED"
    late_s = moment(ending["queue_time"]) - moment(ending["start_time"])
    assert 0 <= late_s < 5.0
