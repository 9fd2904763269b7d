"""The cost of traces for a saturated ephemeral Add: CPU of gateway, worker and ledger for a call.

Four systems take turns: without traces, and with traces that sample none, 1% or all of the calls.
Spans go by OTLP over gRPC to a receiver in this process, which does not read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import grpc

from bench import callers, systems
from bench.cpu import family
from bench.rounds import Figure, Goal, Series, interleave, over_starts
from bench.saturated import cpu_and_rate
from bench.stage import Stage
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

_OFF = "no traces"
SAMPLED = {
    "no call sampled": (("parentbased_always_off", ""), Goal(1.03)),
    "1% of the calls sampled": (("parentbased_traceidratio", "0.01"), Goal(1.05)),
    "all calls sampled": (("parentbased_always_on", ""), Goal(1.3)),
}
"""Each sampler with its argument, and the goal: a call's CPU, as a ratio to that without traces."""


@dataclass(frozen=True)
class Plan:
    """How often the systems are started, the rounds of each start, the duration of a load, and its
    calls in flight.
    """

    starts: int
    rounds: int
    load_s: float
    in_flight: int


FULL = Plan(starts=3, rounds=9, load_s=1.0, in_flight=64)
QUICK = Plan(starts=1, rounds=1, load_s=0.5, in_flight=64)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """All systems, against the one without traces."""
    found = over_starts(plan.starts, partial(_measured, plan))
    off = Series(_OFF, found[_OFF])
    for number, (name, (_, goal)) in enumerate(SAMPLED.items()):
        key, title = f"traces_{number}", "Add, saturated, in gateway, worker and ledger"
        yield Figure(key, title, "µs of CPU", Series(name, found[name]), off, goal, row=23)


def _measured(plan: Plan) -> dict[str, tuple[float, ...]]:
    """Starts a system for each sampler, and one without traces; they take turns."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(_receiver())
        costs = {_OFF: stack.enter_context(_system({}, plan))}
        for name, ((sampler, argument), _) in SAMPLED.items():
            env = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_TRACES_SAMPLER": sampler,
                "OTEL_TRACES_SAMPLER_ARG": argument,
            }
            costs[name] = stack.enter_context(_system(env, plan))
        return interleave(plan.rounds, costs)


@contextmanager
def _system(env: dict[str, str], plan: Plan) -> Iterator[Callable[[], float]]:
    """Starts a system; yields a function that makes a load and returns the µs of CPU of a call."""
    with (
        systems.backend(env) as backend,
        systems.celery_worker("forebay_workers", "add", backend.product_env) as worker,
        systems.gateway(backend) as (address, gateway_pid),
    ):

        def cost() -> float:
            pids = (gateway_pid, *family(worker.popen.pid), backend.server_pid)
            return cpu_and_rate(address, pids, plan.in_flight, plan.load_s)[0]

        with callers.channel(address) as channel:
            callers.add(ComputeServiceStub(channel), durable=False)  # waits for the worker
        yield cost


@contextmanager
def _receiver() -> Iterator[str]:
    """Runs an OTLP receiver that throws away what it gets; yields its endpoint."""
    take: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
        lambda spans, context: b""
    )
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Export": take}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
