"""KEDA's external scaler, on the operators' port: a client from KEDA's proto asks it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import grpc
import pytest

from forebay.v1.calls_pb2 import ListQueuesRequest
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_gateway.scaling import externalscaler_pb2 as pb
from forebay_gateway.scaling.externalscaler_pb2_grpc import ExternalScalerStub
from tests.commands import run
from tests.echo.running import echo_environment, echo_gateway, echo_worker, starting_echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually, free_port, process, redis_server
from tests.proxies import program

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Site:
    """A gateway with an operators' port, and no workers yet."""

    env: dict[str, str]
    address: str
    admin: str


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("1", id="one process"),
        pytest.param("2", id="two processes", marks=pytest.mark.variant),
    ],
)
def small(request: pytest.FixtureRequest) -> Iterator[Site]:
    with redis_server() as url:
        admin = f"127.0.0.1:{free_port()}"
        env = echo_environment(
            FOREBAY_LEDGER_URL=url,
            FOREBAY_ADMIN_LISTEN=admin,
            FOREBAY_PROCESSES=request.param,
            FOREBAY_QUEUE_WAIT_S="600",
            FOREBAY_DRAIN_S="0",
        )
        with echo_gateway(env) as (_, address):
            yield Site(env, address, admin)


@pytest.fixture
def scaler(small: Site) -> Iterator[ExternalScalerStub]:
    with grpc.insecure_channel(small.admin) as channel:
        yield ExternalScalerStub(channel)


@pytest.fixture
def echo(small: Site) -> Iterator[EchoServiceStub]:
    with grpc.insecure_channel(small.address) as channel:
        yield EchoServiceStub(channel)


def trigger(**metadata: str) -> pb.ScaledObjectRef:
    """As KEDA sends it."""
    given = {"scalerAddress": "gateway:50052", "queue": "echo", **metadata}
    return pb.ScaledObjectRef(name="worker", namespace="default", scalerMetadata=given)


def wanted(scaler: ExternalScalerStub, ref: pb.ScaledObjectRef) -> int:
    """How many workers KEDA would run: the value divided by the target, rounded up."""
    (spec,) = scaler.GetMetricSpec(ref, timeout=TIMEOUT_S).metricSpecs
    request = pb.GetMetricsRequest(scaledObjectRef=ref, metricName=spec.metricName)
    (metric,) = scaler.GetMetrics(request, timeout=TIMEOUT_S).metricValues
    assert metric.metricName == spec.metricName
    workers = ceil(round(metric.metricValueFloat / spec.targetSizeFloat, 9))
    active = scaler.IsActive(ref, timeout=TIMEOUT_S).result
    return max(1, workers) if active else 0


def becomes_idle(scaler: ExternalScalerStub, ref: pb.ScaledObjectRef) -> None:
    """Waits for the workers' next report: the last one may be of calls that have ended since."""
    eventually(lambda: wanted(scaler, ref) == 0, "no worker is wanted")


def discard_messages(
    small: Site, scaler: ExternalScalerStub, echo: EchoServiceStub, ref: pb.ScaledObjectRef
) -> None:
    """A worker takes the messages of calls that other tests have cancelled."""
    with echo_worker(small.env, slots=1):
        # Queues are in order: when it has run this call, it has none of the others any more.
        assert echo.Unary(EchoRequest(text="last"), timeout=60).text == "last"
    becomes_idle(scaler, ref)


def test_a_queue_with_calls_is_active_and_one_without_is_not(
    small: Site, scaler: ExternalScalerStub, echo: EchoServiceStub
) -> None:
    ref = trigger(target="2")
    assert wanted(scaler, ref) == 0
    watching = scaler.StreamIsActive(ref)
    news = iter(watching)
    assert next(news).result is False
    calls = [echo.Unary.future(EchoRequest(text=str(number))) for number in range(12)]
    assert next(news).result is True
    eventually(lambda: wanted(scaler, ref) == 1, "the first worker tells how many slots it has")
    with echo_worker(small.env, slots=2):
        for call in calls:
            call.result(timeout=60)
        assert next(news).result is False
        eventually(lambda: slots_known(small) == 2, "the gateway sees the worker")
        becomes_idle(scaler, ref)
    # A worker had 2 slots, and a slot shall have 2 calls.
    calls = [echo.Unary.future(EchoRequest(text=str(number))) for number in range(12)]
    eventually(lambda: wanted(scaler, ref) == 3, "as many workers as the calls need")
    for call in (*calls, watching):
        call.cancel()


def slots_known(site: Site) -> int:
    """How many slots the gateway behind the operators' port knows of."""
    with grpc.insecure_channel(site.admin) as channel:
        queues = CallServiceStub(channel).ListQueues(ListQueuesRequest(), timeout=TIMEOUT_S).queues
    return sum(queue.slots for queue in queues)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "got neither"),
        ({"target": "many"}, "target: expected a number above 0, got 'many'"),
        ({"target": "1", "queue": "nowhere"}, "no method of this gateway is routed to the queue"),
        ({"target": "1", "queue": "nowhere"}, "there are: echo"),
        ({"target": "1", "application": "shop"}, "no method of this gateway is routed to the app"),
        ({"target": "1", "colour": "red"}, "colour: expected one of queue"),
    ],
)
@pytest.mark.parametrize("rpc", ["IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics"])
def test_bad_metadata_is_refused(
    scaler: ExternalScalerStub, metadata: dict[str, str], said: str, rpc: str
) -> None:
    ref = trigger(**metadata)
    request = pb.GetMetricsRequest(scaledObjectRef=ref) if rpc == "GetMetrics" else ref
    with pytest.raises(grpc.RpcError) as refused:
        list(getattr(scaler, rpc)(request, timeout=TIMEOUT_S))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in refused.value.details()


def test_another_metric_is_refused(scaler: ExternalScalerStub) -> None:
    request = pb.GetMetricsRequest(scaledObjectRef=trigger(target="1"), metricName="cpu")
    with pytest.raises(grpc.RpcError) as refused:
        scaler.GetMetrics(request, timeout=TIMEOUT_S)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "the trigger has no metric 'cpu', only forebay-echo"


def test_an_older_keda_reads_whole_numbers(scaler: ExternalScalerStub) -> None:
    (spec,) = scaler.GetMetricSpec(trigger(target="2.4"), timeout=TIMEOUT_S).metricSpecs
    assert (spec.targetSizeFloat, spec.targetSize) == (2.4, 2)


def test_the_callers_port_has_no_scaler_and_reflection_shows_it_to_operators(small: Site) -> None:
    with grpc.insecure_channel(small.address) as channel, pytest.raises(grpc.RpcError) as refused:
        ExternalScalerStub(channel).IsActive(trigger(target="1"), timeout=TIMEOUT_S)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    listed = run("grpcurl", "-plaintext", small.admin, "list", env=small.env).succeeded().out
    assert "externalscaler.ExternalScaler" in listed


@pytest.mark.variant
def test_envoy_passes_on_the_scaler_and_nothing_else(small: Site, tmp_path: Path) -> None:
    port = free_port()
    text = (ROOT / "ops" / "keda" / "envoy.yaml").read_text()
    here = text.replace("50060", str(port)).replace("50052", small.admin.rpartition(":")[2])
    (tmp_path / "envoy.yaml").write_text(here)
    command = [program("envoy"), "--use-dynamic-base-id", "-c", str(tmp_path / "envoy.yaml")]
    with process(*command, env=small.env), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=TIMEOUT_S)
        scaler = ExternalScalerStub(channel)
        active = scaler.IsActive(trigger(target="1"), timeout=TIMEOUT_S).result
        assert next(iter(scaler.StreamIsActive(trigger(target="1")))).result is active
        with pytest.raises(grpc.RpcError) as refused:
            CallServiceStub(channel).ListQueues(ListQueuesRequest(), timeout=TIMEOUT_S)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@dataclass
class SimulatedKeda:
    """Starts and stops real workers as KEDA would; the cooldown is one answer."""

    scaler: ExternalScalerStub
    ref: pb.ScaledObjectRef
    env: dict[str, str]
    most: int
    seen: list[int] = field(default_factory=list)
    _workers: list[tuple[Process, ExitStack]] = field(default_factory=list)

    def step(self) -> None:
        """Starts what is missing, and sends SIGTERM to what is too many."""
        wish = min(wanted(self.scaler, self.ref), self.most)
        for _ in range(wish - len(self._workers)):
            running = ExitStack()
            worker = running.enter_context(starting_echo_worker(self.env, slots=1))
            self._workers.append((worker, running))
        for worker, _ in self._workers[wish:]:
            worker.wait_for("Connected to")  # Celery handles SIGTERM a moment before this
            worker.popen.send_signal(signal.SIGTERM)
        for worker, running in self._workers[wish:]:
            assert worker.ended(TIMEOUT_S) == 0
            running.close()
        del self._workers[wish:]
        self.seen.append(wish)


@pytest.mark.variant
@pytest.mark.timeout(600)
@pytest.mark.parametrize("goal", [{"target": "1"}, {"targetWaitSeconds": "2"}])
def test_a_fleet_scales_from_0_to_8_to_0_and_loses_no_call(
    small: Site, scaler: ExternalScalerStub, echo: EchoServiceStub, goal: dict[str, str]
) -> None:
    discard_messages(small, scaler, echo, trigger(**goal))
    keda = SimulatedKeda(scaler, trigger(**goal), small.env, most=8)
    keda.step()
    assert keda.seen == [0]
    requests = [EchoRequest(text=str(number), act="sleep", seconds=0.5) for number in range(160)]
    calls = [
        (echo.Unary if number % 2 else echo.Quick).future(request)
        for number, request in enumerate(requests)
    ]
    give_up = time.monotonic() + 300
    while time.monotonic() < give_up and not (len(calls) == 200 and keda.seen[-1] == 0):
        if 8 in keda.seen and len(calls) < 200:  # some come while workers stop
            calls.append(echo.Unary.future(EchoRequest(text=str(len(calls)))))
        keda.step()
        time.sleep(0.2)
    assert [call.result(timeout=TIMEOUT_S).text for call in calls] == [
        str(number) for number in range(len(calls))
    ]
    assert (max(keda.seen), keda.seen[-1]) == (8, 0)
