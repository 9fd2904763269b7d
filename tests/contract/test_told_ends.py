"""A Celery task is told of the end of each call, on every broker, also when the gateway is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
import pytest
import redis
from google.api_core.operations_v1 import OperationsClient

from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_backends.ledger.keys import CallKey
from tests.contract.systems import backends_of, messages_in
from tests.e2e.known_calls import new_id
from tests.echo.running import ECHO_APP
from tests.harness import LATE_START_S, Process, eventually
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


def test_the_task_is_told_once_of_a_failure_and_of_a_deadline(site: Site) -> None:
    failed, late = new_id(), new_id()
    assert call(site.address, failed, ABORTS) is grpc.StatusCode.NOT_FOUND
    ending = site.told.of(failed)
    assert (ending["state"], ending["reason"]) == ("FAILED", None)
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
    after = new_id()
    assert call(site.address, after, ABORTS) is grpc.StatusCode.NOT_FOUND
    site.told.of(after)  # a second message of the others would have come by then
    assert [len(site.told.all(name)) for name in (failed, late)] == [1, 1]


@pytest.mark.variant
def test_the_task_is_told_why_forebay_ended_a_call(
    deserted: dict[str, str], tmp_path: Path
) -> None:
    name = new_id()
    told = Told(tmp_path, {**deserted, "FOREBAY_QUEUE_WAIT_S": "1"})
    with told.worker(*ENDS), told.gateway() as (_, address):
        left(address, name)
        ending = told.of(name)
    assert (ending["state"], ending["reason"]) == ("FAILED", "NO_WORKERS")
    assert ending["begin_time"] is None


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
    assert 0 <= late_s < LATE_START_S


def consumed(address: str) -> set[str]:
    """The queues that live workers consume."""
    with grpc.insecure_channel(address) as channel:
        listed = CallServiceStub(channel).ListWorkers(calls_pb2.ListWorkersRequest())
    return {queue for worker in listed.workers for queue in worker.queues}


@pytest.mark.variant
def test_messages_of_a_task_that_nobody_has_wait_in_its_queue(
    deserted: dict[str, str], tmp_path: Path
) -> None:
    told, broker_url = Told(tmp_path, deserted), backends_of(deserted).broker_url
    names = {new_id() for _ in range(3)}
    if broker_url.startswith("amqp"):
        with told.worker(*ENDS):
            pass  # the queue exists now
    with told.worker(*RUNS), told.gateway() as (_, address):
        for name in names:
            assert call(address, name) is grpc.StatusCode.OK
        eventually(lambda: messages_in(broker_url, *ENDS) == len(names), "the messages wait")
    with told.worker(*ENDS):  # alone: nobody could send anything but what waits
        assert {told.of(name)["id"] for name in names} == names
    assert messages_in(broker_url, *ENDS) == 0


@pytest.mark.variant
def test_messages_of_a_task_that_the_workers_of_its_queue_lack_are_kept_for_one_that_has_it(
    deserted: dict[str, str], tmp_path: Path
) -> None:
    """Celery drops messages of unknown tasks, so they wait in the ledger."""
    told, name = Told(tmp_path, deserted), new_id()
    with told.gateway() as (gateway, address), told.worker(*RUNS) as runs:
        with told.worker(*ENDS, app=ECHO_APP) as lacks:
            eventually(lambda: consumed(address) >= {*RUNS, *ENDS}, "the workers are known")
            assert call(address, name) is grpc.StatusCode.OK
            warning = "can't be told of the ends of calls: no live worker of the queue 'told-ends'"
            repairing = (gateway, runs, lacks)
            eventually(lambda: any(warning in one.output for one in repairing), "it is logged")
            assert "unregistered task" not in lacks.output
        with told.worker(*ENDS):
            assert told.of(name)["state"] == "SUCCEEDED"


@pytest.mark.variant
def test_a_worker_that_lacks_the_task_keeps_no_message_that_it_got(
    deserted: dict[str, str], tmp_path: Path
) -> None:
    """The message is in the ledger again, also when the worker is killed."""
    told, backends, name = Told(tmp_path, deserted), backends_of(deserted), new_id()
    broker_url, kept = backends.broker_url, f"{CallKey(name).partition}:ends"
    with told.worker(*ENDS):
        pass
    with told.worker(*RUNS), told.gateway() as (_, address):
        assert call(address, name) is grpc.StatusCode.OK
        eventually(lambda: messages_in(broker_url, *ENDS) == 1, "the message waits")
    with told.worker(*ENDS, app=ECHO_APP) as lacks:
        lacks.wait_for("the end of a call goes back to the ledger")
        with redis.Redis.from_url(backends.ledger.url) as ledger:
            eventually(lambda: ledger.zcard(kept) == 1, "the ledger has it")
        lacks.stop(9)
    with told.worker(*ENDS):
        assert told.of(name)["id"] == name
