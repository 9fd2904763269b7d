"""Coroutine handlers on the asyncio pool: memory while they wait, calls a second, cancellation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from bench import callers, systems
from bench.rounds import Figure, Goal, Series, interleave, quantile
from bench.saturated import grpc_load
from bench.stage import Stage
from tests.echo.running import COROUTINES_APP, ECHO_APP, pool_option
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, short_folder

_SERVICES = '["tests.echo.v1.echo_pb2"]'
_MB = 1e6
_WAIT_S = 0.01
"""How long the handler awaits in the measurement of calls a second."""
_CHILDREN = 4
_BEGUN_WITHIN_S = 120.0
_TIMEOUT_S = 300.0
_WARM_UP_CALLS = 20
_KINDS = {"ephemeral": "QuickAgain", "durable": "Unary"}
_LOADS = {
    "ephemeral": ("ephemeral", "ephemeral:QuickAgain"),
    "durable": ("durable", "durable:QuickAgain"),
    "durable_single": ("durable, one call a message", "durable:Unary"),
}
"""The loads by key: the title, and the kind of calls. A message has up to 16 of QuickAgain."""


@dataclass(frozen=True)
class Plan:
    """The numbers of waiting handlers, rounds, calls in flight of a load, and cancelled calls."""

    waiting: int
    rounds: int
    load_s: float
    in_flight: int
    cancelled: int


FULL = Plan(waiting=1000, rounds=5, load_s=2.0, in_flight=200, cancelled=200)
QUICK = Plan(waiting=100, rounds=1, load_s=0.5, in_flight=100, cancelled=20)


@dataclass(frozen=True)
class _System:
    """A gateway with a worker of EchoService."""

    stub: EchoServiceStub
    address: str
    worker_pid: int


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Each of the three measurements starts processes of its own."""
    yield from _waiting(plan)
    yield from _rates(plan)
    yield from _cancellations(plan)


def _waiting(plan: Plan) -> Iterator[Figure]:
    with _system("asyncio", plan.waiting, COROUTINES_APP) as system:
        stub, pid = system.stub, system.worker_pid
        idle_mb = _resident_mb(pid)
        with short_folder() as folder:
            calls = [
                stub.Unary.future(_sleeping(folder / str(number)), timeout=_TIMEOUT_S)
                for number in range(plan.waiting)
            ]
            eventually(
                lambda: len(list(folder.glob("*.begun"))) == plan.waiting,
                "all handlers have begun",
                _BEGUN_WITHIN_S,
            )
            waiting_mb = _resident_mb(pid)
            for call in calls:
                call.cancel()
    yield Figure(
        "coroutines_memory",
        f"A worker whose {plan.waiting:,} handlers wait at once",
        "MB",
        Series("asyncio", (waiting_mb,)),
        Series("before the calls", (idle_mb,)),
        Goal(200, absolute=True),
        row=33,
    )


def _rates(plan: Plan) -> Iterator[Figure]:
    with ExitStack() as stack:
        ours = stack.enter_context(_system("asyncio", plan.in_flight, COROUTINES_APP))
        theirs = stack.enter_context(_system("prefork", _CHILDREN, ECHO_APP))
        for key, (name, kind) in _LOADS.items():
            found = interleave(
                plan.rounds,
                {
                    "asyncio": partial(_rate, ours.address, kind, plan),
                    "prefork": partial(_rate, theirs.address, kind, plan),
                },
            )
            yield Figure(
                f"coroutines_rate_{key}",
                f"A handler that awaits {_WAIT_S * 1000:g} ms, {plan.in_flight} in flight, {name}",
                "calls/s",
                Series("asyncio", found["asyncio"]),
                Series(f"prefork, {_CHILDREN} children", found["prefork"]),
                Goal(5, at_most=False),
                row=34,
            )


def _rate(address: str, kind: str, plan: Plan) -> float:
    """Calls a second, each of which sleeps at its worker."""
    return float(grpc_load(address, f"{kind}:{_WAIT_S}", plan.in_flight, plan.load_s).rate)


def _cancellations(plan: Plan) -> Iterator[Figure]:
    with _system("asyncio", 10, COROUTINES_APP) as system, short_folder() as folder:
        for kind, method in _KINDS.items():
            found = interleave(
                plan.rounds, {kind: partial(_p99_ms, system.stub, method, folder, plan.cancelled)}
            )
            yield Figure(
                f"coroutines_cancel_{kind}",
                f"From a caller's cancel to the end of the coroutine, p99, {kind}",
                "ms",
                Series("asyncio", found[kind]),
                None,
                Goal(100),
                row=35,
            )


def _p99_ms(stub: EchoServiceStub, method: str, folder: Path, count: int) -> float:
    return quantile([_cancelled_ms(stub, method, folder) for _ in range(count)], 0.99)


def _cancelled_ms(stub: EchoServiceStub, method: str, folder: Path) -> float:
    """The time from the cancel to the coroutine's end, which the handler writes into a file."""
    file = folder / f"{time.monotonic_ns()}"
    call = getattr(stub, method).future(_sleeping(file), timeout=_TIMEOUT_S)
    eventually(file.with_suffix(".begun").exists, "the handler has begun", _BEGUN_WITHIN_S)
    began = time.time()
    call.cancel()
    eventually(lambda: file.exists() and file.read_text() != "", "it has ended", _BEGUN_WITHIN_S)
    return (float(file.read_text()) - began) * 1000


def _sleeping(file: Path) -> EchoRequest:
    return EchoRequest(act="sleep", seconds=_TIMEOUT_S, text=str(file))


def _resident_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / _MB)


@contextmanager
def _system(pool: str, slots: int, app: str) -> Iterator[_System]:
    """Starts a backend, a gateway and a worker."""
    option, variables = pool_option(pool)
    with ExitStack() as stack:
        backend = stack.enter_context(systems.backend(FOREBAY_SERVICES=_SERVICES))
        env = {**backend.product_env, **variables}
        options = ("--concurrency", str(slots))
        worker = stack.enter_context(systems.celery_worker(app, "echo", env, *options, pool=option))
        address, _ = stack.enter_context(systems.gateway(backend))
        stub = EchoServiceStub(stack.enter_context(callers.channel(address)))
        for method in _KINDS.values():
            for _ in range(_WARM_UP_CALLS):
                getattr(stub, method)(EchoRequest(), timeout=_BEGUN_WITHIN_S)
        yield _System(stub, address, worker.popen.pid)
