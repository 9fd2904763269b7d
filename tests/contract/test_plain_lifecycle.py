"""Plain tasks whose callers disconnect, gateways end, or connections break."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from celery import Celery
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kombu import Connection, Producer

from forebay.errors import ForebayError
from forebay.metadata import CALL_ID
from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2, calls_pb2_grpc
from tests.contract.plain_site import ROOT, PlainSite, error_of, wish
from tests.harness import environment, eventually, forebay_gateway, free_port
from tests.plain.v1 import plain_pb2 as pb
from tests.plain.v1.plain_pb2_grpc import PlainServiceStub
from tests.rabbitmq import SERVER, RabbitMQ

TIMEOUT_S = 30.0


class Begun:
    """A call whose task has begun, on a worker, and sleeps."""

    def __init__(self, stub: Any, folder: Path, seconds: float = 60.0, **options: Any) -> None:
        self.marks = {"begun": str(folder / "begun"), "ended": str(folder / "ended")}
        request = wish("touch_then_sleep", {**self.marks, "seconds": seconds})
        self.call = stub.future(request, **{"timeout": TIMEOUT_S, **options})
        eventually(Path(self.marks["begun"]).exists, "the task has begun")
        self.id = Path(self.marks["begun"]).read_text()

    @property
    def has_ended(self) -> bool:
        """Whether the task ran to its end."""
        return Path(self.marks["ended"]).exists()

    @property
    def error(self) -> ForebayError:
        """The error that the call ended with."""
        error = self.call.exception(TIMEOUT_S)
        assert isinstance(error, grpc.RpcError)
        return of_rpc_error(error)


def was_terminated(plain: PlainSite, task_id: str) -> None:
    plain.worker.wait_for(rf"Terminating {task_id} \(15\)")


def test_a_disconnect_terminates_the_process_that_runs_the_task(
    plain: PlainSite, tmp_path: Path
) -> None:
    begun = Begun(plain.stub.Do, tmp_path)
    begun.call.cancel()
    was_terminated(plain, begun.id)
    assert plain.stub.Add(pb.AddRequest(x=1), timeout=TIMEOUT_S).total == 2
    assert not begun.has_ended


def test_a_deadline_that_is_sooner_than_the_tasks_time_limit_stops_the_task(
    plain: PlainSite, tmp_path: Path
) -> None:
    begun = Begun(plain.stub.Do, tmp_path, timeout=4.0)
    assert begun.error.code_name == "DEADLINE_EXCEEDED"
    was_terminated(plain, begun.id)
    assert not begun.has_ended


def test_a_task_with_let_finish_finishes_after_a_disconnect(
    plain: PlainSite, tmp_path: Path
) -> None:
    begun = Begun(plain.stub.DoAnyhow, tmp_path, seconds=1.0)
    begun.call.cancel()
    eventually(lambda: begun.has_ended, "the task has ended")
    assert f"Terminating {begun.id}" not in plain.worker.output


def revoked(plain: PlainSite) -> set[str]:
    """The tasks that the worker knows to be revoked."""
    operator = Celery(broker=plain.env["PLAIN_BROKER_URL"], set_as_current=False)
    with operator.connection_for_write() as connection:
        found = operator.control.inspect(timeout=2.0, connection=connection).revoked()
    operator.close()
    return {task for tasks in (found or {}).values() for task in tasks}


def test_a_queued_task_does_not_begin_after_a_disconnect(plain: PlainSite, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(2)]
    for folder in folders:
        folder.mkdir()
    running = [Begun(plain.stub.Do, folder) for folder in folders]  # both slots
    (tmp_path / "queued").mkdir()
    queued = plain.stub.DoInSteps(  # a stream, whose initial metadata comes at once
        wish("touch_then_sleep", {"begun": str(tmp_path / "queued" / "begun")}), timeout=TIMEOUT_S
    )
    task_id = dict(queued.initial_metadata())[CALL_ID]
    queued.cancel()
    broker_url = plain.env["PLAIN_BROKER_URL"]
    if broker_url.startswith("redis"):
        with redis.Redis.from_url(broker_url) as server:
            eventually(lambda: not server.exists("plain"), "the task's message is removed")
    else:
        eventually(lambda: task_id in revoked(plain), "the worker knows of it")
    for one in running:
        one.call.cancel()
    if not broker_url.startswith("redis"):
        plain.worker.wait_for(rf"Discarding revoked task: plain\.do\[{task_id}\]")
    assert plain.stub.Add(pb.AddRequest(x=1), timeout=TIMEOUT_S).total == 2  # the queue was drained
    assert not (tmp_path / "queued" / "begun").exists()


def test_an_operators_revoke_differs_from_a_callers(plain: PlainSite, tmp_path: Path) -> None:
    begun = Begun(plain.stub.Do, tmp_path)
    operator = Celery(broker=plain.env["PLAIN_BROKER_URL"], set_as_current=False)
    with operator.connection_for_write() as connection:
        operator.control.revoke(begun.id, terminate=True, connection=connection)
    operator.close()
    assert (begun.error.code_name, begun.error.reason) == ("CANCELLED", "TASK_REVOKED")


@contextmanager
def another_gateway(plain: PlainSite, **more: str) -> Iterator[tuple[Any, PlainServiceStub, str]]:
    """Another gateway for the same application."""
    with (
        forebay_gateway(env={**plain.env, **more}, cwd=ROOT) as (gateway, address),
        grpc.insecure_channel(address) as channel,
    ):
        yield gateway, PlainServiceStub(channel), address


def test_a_gateway_that_ends_cuts_its_calls_and_stops_their_tasks(
    plain: PlainSite, tmp_path: Path
) -> None:
    with another_gateway(plain) as (gateway, stub, _):
        begun = Begun(stub.Do, tmp_path)
        gateway.popen.terminate()
        assert (begun.error.code_name, begun.error.reason) == ("UNAVAILABLE", "DRAINING")
        assert begun.error.retry_after_s is None  # the method has effects
        was_terminated(plain, begun.id)
        assert gateway.ended() == 0


def test_each_of_two_gateways_receives_its_own_results(plain: PlainSite) -> None:
    with another_gateway(plain) as (_, stub, _):
        calls = [
            one.Add.future(pb.AddRequest(x=number, y=number), timeout=TIMEOUT_S)
            for number in range(20)
            for one in (stub, plain.stub)
        ]
        assert [call.result().total for call in calls] == [n * 2 for n in range(20) for _ in "ab"]


def test_a_gateway_with_methods_of_both_kinds_has_its_ledger(
    plain: PlainSite, redis_url: str
) -> None:
    both = '["tests.plain.v1.plain_pb2", "forebay.compute.v1.compute_pb2"]'
    more = {"FOREBAY_SERVICES": both, "FOREBAY_LEDGER_URL": f"{redis_url}9"}
    with another_gateway(plain, **more) as (_, stub, address):
        assert stub.Add(pb.AddRequest(x=1), timeout=TIMEOUT_S).total == 2
        with grpc.insecure_channel(address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            serving = health_pb2.HealthCheckResponse.SERVING
            eventually(
                lambda: health.Check(health_pb2.HealthCheckRequest()).status == serving,
                "both kinds answer",
            )
            queues = calls_pb2_grpc.CallServiceStub(channel).ListQueues(
                calls_pb2.ListQueuesRequest(), timeout=TIMEOUT_S
            )
            assert {queue.name for queue in queues.queues} == {"add", "factorial", "mat_mul"}


def test_a_result_is_not_lost_with_the_connections_that_it_is_awaited_on(
    plain: PlainSite, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    begun = Begun(plain.stub.DoAgain, tmp_path, seconds=2.0)
    if plain.env["PLAIN_BROKER_URL"].startswith("redis"):
        with redis.Redis.from_url(plain.env["PLAIN_BROKER_URL"]) as server:
            server.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            server.execute_command("CLIENT", "KILL", "TYPE", "normal")
    else:
        close_connections(request.getfixturevalue("rabbitmq"))
    assert begun.call.result(TIMEOUT_S) == pb.Done()
    assert plain.stub.Add(pb.AddRequest(x=1), timeout=TIMEOUT_S, wait_for_ready=True).total == 2


def close_connections(node: RabbitMQ) -> None:
    subprocess.run(
        [
            *[str(SERVER.parent / "rabbitmqctl"), "--node", node.env["RABBITMQ_NODENAME"]],
            *["close_all_connections", "--vhost", "plain", "a test"],
        ],
        env=node.env,
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("serializer", ["pickle", "yaml"])
def test_a_reply_that_is_not_json_ends_its_call_unread(
    plain: PlainSite, tmp_path: Path, serializer: str
) -> None:
    if not plain.is_rpc:
        reply_queue = None
    else:
        asked = plain.stub.Do(wish("header", "reply_to"), timeout=TIMEOUT_S)
        reply_queue = MessageToDict(asked)["value"]
    begun = Begun(plain.stub.Do, tmp_path)
    body = b"\x80\x04cos\nsystem\n" if serializer == "pickle" else b"status: SUCCESS"
    if reply_queue is None:
        with redis.Redis.from_url(plain.env["PLAIN_RESULT_BACKEND"]) as server:
            server.publish(f"celery-task-meta-{begun.id}", body)
    else:
        with Connection(plain.env["PLAIN_BROKER_URL"]) as connection:
            Producer(connection).publish(
                body,
                routing_key=reply_queue,
                content_type={"pickle": "application/x-python-serialize"}.get(
                    serializer, "application/x-yaml"
                ),
                content_encoding="binary",
                correlation_id=begun.id,
            )
    assert (begun.error.code_name, begun.error.reason) == ("INTERNAL", "RESULT_UNFIT")
    was_terminated(plain, begun.id)


@pytest.mark.parametrize(
    "broker",
    [
        pytest.param("amqp://guest:guest@127.0.0.1:{}//", marks=pytest.mark.variant),
        "redis://127.0.0.1:{}/0",
    ],
)
def test_without_a_broker_calls_fail_soon_and_health_is_not_serving(broker: str) -> None:
    url = broker.format(free_port())
    env = environment(
        FOREBAY_BROKER_URL=url, FOREBAY_SERVICES='["tests.plain.v1.plain_pb2"]', FOREBAY_DRAIN_S="0"
    )
    with (
        forebay_gateway(env=env, cwd=ROOT) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        stub = PlainServiceStub(channel)
        error = error_of(lambda: stub.Add(pb.AddRequest(), timeout=TIMEOUT_S))
        assert (error.code_name, error.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
        assert error.message == "the broker does not answer"
        assert error.retry_may_help
        once = error_of(lambda: stub.Do(wish("answer"), timeout=TIMEOUT_S))
        assert (once.reason, once.retry_may_help) == ("BACKEND_UNAVAILABLE", False)
        health: Any = health_pb2_grpc.HealthStub(channel)
        status = health.Check(health_pb2.HealthCheckRequest()).status
        assert status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_many_calls_at_once_are_each_answered_by_their_own_result(plain: PlainSite) -> None:
    def caller(first: int) -> None:
        calls = [
            plain.stub.Add.future(pb.AddRequest(x=first + n, y=0), timeout=TIMEOUT_S)
            for n in range(50)
        ]
        answers.extend((first + n, call.result().total) for n, call in enumerate(calls))

    answers: list[tuple[int, int]] = []
    threads = [threading.Thread(target=caller, args=(first,)) for first in range(0, 200, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 200
    assert all(asked == answered for asked, answered in answers)
