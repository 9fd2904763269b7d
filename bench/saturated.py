"""Add by as many callers as a server can bear: calls a second, and how long they take then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench import load, rivals
from bench.load import SHARES, Load
from bench.rounds import (
    Absent,
    Chart,
    Figure,
    Goal,
    Line,
    Series,
    best_of,
    interleave,
    least_saturating,
)
from bench.stage import Stage
from tests.harness import environment

CONNECTIONS = 8
"""Of each load of gRPC calls, which it spreads over them evenly."""
CELERY_THREADS = (1, 16, 64)
_TITLE = "Add, saturated"


@dataclass(frozen=True)
class Plan:
    """How many rounds of how many seconds, and which loads are tried before the first.

    `in_flight` are calls of gRPC at a time, `threads` those of the hand-written servicer.
    """

    rounds: int
    load_s: float
    in_flight: Sequence[int]
    threads: Sequence[int]
    try_s: float = 1.0


FULL = Plan(rounds=5, load_s=2.5, in_flight=(16, 64, 256), threads=(4, 16, 64))
QUICK = Plan(rounds=2, load_s=1.0, in_flight=(64,), threads=(16,))


@dataclass(frozen=True)
class _Contender:
    """A load of a server, and what the report calls it."""

    name: str
    run: Callable[[float], Load]


def measure(stage: Stage, plan: Plan) -> Iterator[Figure | Chart]:
    """Ephemeral and durable calls against all that one would use instead, and a bare server."""
    with ExitStack() as stack:
        ray = stack.enter_context(rivals.ray_serve())
        contenders = _contenders(stage, plan, stack, ray)
        loads = interleave(
            plan.rounds, {key: _for(it, plan.load_s) for key, it in contenders.items()}
        )
    series: dict[str, Series | Absent] = {
        key: Series(contenders[key].name, tuple(load.rate for load in loads[key])) for key in loads
    }
    series["celery"] = _celery(loads)
    if isinstance(ray, Absent):
        series["ray"] = ray
    yield from _figures(series, loads)
    yield _distribution(contenders, loads)


def _for(contender: _Contender, seconds: float) -> Callable[[], Load]:
    return lambda: contender.run(seconds)


def _contenders(
    stage: Stage, plan: Plan, stack: ExitStack, ray: str | Absent
) -> dict[str, _Contender]:
    """Each at the load that saturates it."""
    contenders = {
        "ephemeral": _grpc("ephemeral", stage.address, "ephemeral", plan),
        "durable": _grpc("durable", stage.address, "durable", plan),
        **{f"celery {threads}": _client(stage, threads) for threads in CELERY_THREADS},
        "servicer": _servicer(stage, plan, stack),
        "echo": _grpc("a bare grpc.aio echo", stage.echo_address, "echo", plan),
    }
    if isinstance(ray, str):
        contenders["ray"] = _grpc(rivals.RAY_SERVE, ray, "ephemeral", plan)
    return contenders


def _grpc(name: str, address: str, kind: str, plan: Plan) -> _Contender:
    in_flight = _best(plan.in_flight, lambda many: _grpc_load(address, kind, many, plan.try_s))
    return _Contender(
        f"{name}, {in_flight} in flight",
        lambda seconds: _grpc_load(address, kind, in_flight, seconds),
    )


def _servicer(stage: Stage, plan: Plan, stack: ExitStack) -> _Contender:
    """The hand-written servicer with its best number of threads; as many calls are in flight."""
    env = stage.tutorial_env

    def tried(threads: int) -> Load:
        with rivals.servicer(env, threads) as address:
            return _grpc_load(address, "ephemeral", threads, plan.try_s)

    threads = _best(plan.threads, tried)
    address = stack.enter_context(rivals.servicer(env, threads))
    return _Contender(
        f"a hand-written servicer, {threads} threads",
        lambda seconds: _grpc_load(address, "ephemeral", threads, seconds),
    )


def _client(stage: Stage, threads: int) -> _Contender:
    return _Contender(
        f"Celery's client, {threads} threads",
        lambda seconds: load.run(
            "bench.load.celery", threads, env=stage.tutorial_env, seconds=seconds
        ),
    )


def _best(choices: Sequence[int], tried: Callable[[int], Load]) -> int:
    """The least of the choices that saturates; the only one is not tried."""
    if len(choices) == 1:
        return choices[0]
    return least_saturating({choice: tried(choice).rate for choice in choices})


def _grpc_load(address: str, kind: str, in_flight: int, seconds: float) -> Load:
    connections = min(CONNECTIONS, in_flight)
    words = (address, kind, in_flight, connections)
    return load.run("bench.load.grpc", *words, env=environment(), seconds=seconds)


def _celery(loads: Mapping[str, Sequence[Load]]) -> Series:
    rates = ([load.rate for load in loads[f"celery {threads}"]] for threads in CELERY_THREADS)
    threads = ", ".join(map(str, CELERY_THREADS))
    return Series(f"Celery's client, best of {threads} threads", best_of(*rates))


def _figures(
    series: Mapping[str, Series | Absent], loads: Mapping[str, Sequence[Load]]
) -> Iterator[Figure]:
    ephemeral, durable = series["ephemeral"], series["durable"]
    assert isinstance(ephemeral, Series)
    assert isinstance(durable, Series)
    for rival in ("celery", "servicer", "ray"):
        goal = Goal(8, at_most=False)
        yield Figure(f"add_rate_{rival}", _TITLE, "calls/s", ephemeral, series[rival], goal, row=2)
    goal = Goal(0.7, at_most=False)
    yield Figure("add_rate_echo", _TITLE, "calls/s", ephemeral, series["echo"], goal, row=3)
    times = {
        name: Series(f"{name} of {ephemeral.name}", tuple(values))
        for name, values in (
            ("p99", [load.p99_ms for load in loads["ephemeral"]]),
            ("p50", [load.p50_ms for load in loads["ephemeral"]]),
        )
    }
    yield Figure("add_tail", _TITLE, "ms", times["p99"], times["p50"], Goal(2.5), row=4)
    goal = Goal(3, at_most=False)
    yield Figure("add_rate_durable", _TITLE, "calls/s", durable, series["celery"], goal, row=5)
    cost = Series("a call of gRPC", tuple(load.cpu_us for load in loads["echo"]))
    yield Figure("load_cpu", "What the load itself takes of a core", "µs", cost)


def _distribution(
    contenders: Mapping[str, _Contender], loads: Mapping[str, Sequence[Load]]
) -> Chart:
    lines = tuple(
        Line(
            contenders[key].name,
            tuple(
                (share, Series("", tuple(load.times_ms[index] for load in loads[key])))
                for index, share in enumerate(SHARES)
            ),
        )
        for key in contenders
    )
    title = f"{_TITLE}: how long calls take"
    share = "of all calls, this share takes at most as long"
    return Chart("add_times", title, share, "ms", lines, log_y=True, x_is_share=True)
