"""Add under a saturating load: calls a second, and their latency."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench import load, rivals
from bench.cpu import cpu_ms
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
"""A gRPC load spreads its calls evenly over at most this many connections."""
_TITLE = "Add, saturated"
_RAY_GOALS = {rivals.RAY_SERVE: 10, rivals.RAY_SERVE_HAPROXY: 4}


@dataclass(frozen=True)
class Plan:
    """The rounds, their duration, and the loads to choose from.

    Before the first round, each gRPC server is tried with each number of calls `in_flight`, and the
    hand-written servicer with each number of `threads`. Celery's client has rounds with each of
    `celery_threads`, and its best rate of each round counts. `haproxy` says whether to measure Ray
    Serve without HAProxy, with it, or both.
    """

    rounds: int
    load_s: float
    in_flight: Sequence[int]
    threads: Sequence[int]
    celery_threads: Sequence[int]
    haproxy: Sequence[bool]
    ray_rounds: int
    try_s: float = 1.0


FULL = Plan(
    rounds=5,
    load_s=2.0,
    in_flight=(16, 64, 256),
    threads=(4, 16, 64),
    celery_threads=(1, 16, 64),
    haproxy=(False, True),
    ray_rounds=3,
)
QUICK = Plan(
    rounds=1,
    load_s=0.5,
    in_flight=(64,),
    threads=(16,),
    celery_threads=(16,),
    haproxy=(False,),
    ray_rounds=1,
)


@dataclass(frozen=True)
class _Contender:
    """A load of a server, and what the report calls it."""

    name: str
    run: Callable[[float], Load]


def measure(stage: Stage, plan: Plan) -> Iterator[Figure | Chart]:
    """Ephemeral and durable calls against the alternatives, and against a bare server."""
    with ExitStack() as stack:
        contenders = _contenders(stage, plan, stack)
        loads = _in_turns(contenders, plan.rounds, plan.load_s)
    yield from _figures({key: _rates(it, loads[key]) for key, it in contenders.items()}, loads)
    lines = [_line(it, loads[key]) for key, it in contenders.items()]
    ours = contenders["ephemeral"]
    for haproxy in plan.haproxy:
        name = rivals.RAY_SERVE_HAPROXY if haproxy else rivals.RAY_SERVE
        with rivals.ray_serve(haproxy=haproxy) as ray:
            figure, more = _against_ray(name, ray, ours, plan)
        yield figure
        lines += more
    title = f"{_TITLE}: how long calls take"
    share = "of all calls, this share takes at most as long"
    yield Chart("add_times", title, share, "ms", tuple(lines), log_y=True, x_is_share=True)


def _against_ray(
    name: str, ray: str | Absent, ours: _Contender, plan: Plan
) -> tuple[Figure, list[Line]]:
    """Ray has its own rounds, because an idle Ray uses over a tenth of a core."""
    goal, lines = Goal(_RAY_GOALS[name], at_most=False), []
    if isinstance(ray, str):
        contenders = {"ours": ours, "ray": _grpc(name, ray, "ephemeral", plan)}
        loads = _in_turns(contenders, plan.ray_rounds, plan.load_s)
        ephemeral = _rates(ours, loads["ours"])
        rival: Series | Absent = _rates(contenders["ray"], loads["ray"])
        lines.append(_line(contenders["ray"], loads["ray"]))
    else:
        ephemeral, rival = _rates(ours, [ours.run(plan.load_s)]), ray
    key = "add_rate_ray_haproxy" if name == rivals.RAY_SERVE_HAPROXY else "add_rate_ray"
    return Figure(key, _TITLE, "calls/s", ephemeral, rival, goal, row=3), lines


def _in_turns(
    contenders: Mapping[str, _Contender], rounds: int, seconds: float
) -> dict[str, tuple[Load, ...]]:
    return interleave(rounds, {key: _for(it, seconds) for key, it in contenders.items()})


def _rates(contender: _Contender, loads: Sequence[Load]) -> Series:
    return Series(contender.name, tuple(load.rate for load in loads))


def _for(contender: _Contender, seconds: float) -> Callable[[], Load]:
    return lambda: contender.run(seconds)


def _contenders(stage: Stage, plan: Plan, stack: ExitStack) -> dict[str, _Contender]:
    """The contenders, each with the load that saturates it."""
    return {
        "ephemeral": _grpc("ephemeral", stage.address, "ephemeral", plan),
        "durable": _grpc("durable", stage.address, "durable", plan),
        **{f"celery {threads}": _client(stage, threads) for threads in plan.celery_threads},
        "servicer": _servicer(stage, plan, stack),
        "echo": _grpc("a bare grpc.aio echo", stage.echo.address, "echo", plan),
    }


def _grpc(name: str, address: str, kind: str, plan: Plan) -> _Contender:
    in_flight = _best(plan.in_flight, lambda many: grpc_load(address, kind, many, plan.try_s))
    return _Contender(
        f"{name}, {in_flight} in flight",
        lambda seconds: grpc_load(address, kind, in_flight, seconds),
    )


def _servicer(stage: Stage, plan: Plan, stack: ExitStack) -> _Contender:
    """The hand-written servicer with its best number of threads, and a call in flight for each."""
    env = stage.tutorial_env

    def tried(threads: int) -> Load:
        with rivals.servicer(env, threads) as address:
            return grpc_load(address, "ephemeral", threads, plan.try_s)

    threads = _best(plan.threads, tried)
    address = stack.enter_context(rivals.servicer(env, threads))
    return _Contender(
        f"a hand-written servicer, {threads} threads",
        lambda seconds: grpc_load(address, "ephemeral", threads, seconds),
    )


def _client(stage: Stage, threads: int) -> _Contender:
    return _Contender(
        f"Celery's client, {threads} thread{'s' * (threads > 1)}",
        lambda seconds: load.run(
            "bench.load.celery", threads, env=stage.tutorial_env, seconds=seconds
        ),
    )


def _best(choices: Sequence[int], tried: Callable[[int], Load]) -> int:
    """The lowest choice that saturates; a single choice is returned untried."""
    if len(choices) == 1:
        return choices[0]
    return least_saturating({choice: tried(choice).rate for choice in choices})


def cpu_and_rate(
    address: str, pids: Collection[int], in_flight: int, seconds: float, **variables: str
) -> tuple[float, float]:
    """The µs of CPU that a saturated ephemeral Add takes in the processes, and the calls/s."""
    before = cpu_ms(pids)
    load = grpc_load(address, "ephemeral", in_flight, seconds, **variables)
    return (cpu_ms(pids) - before) * 1000 / load.calls, load.rate


def grpc_load(address: str, kind: str, in_flight: int, seconds: float, **variables: str) -> Load:
    """Runs `bench.load.grpc` with the environment `variables`, and returns its measurements."""
    connections = min(CONNECTIONS, in_flight)
    words = (address, kind, in_flight, connections)
    return load.run("bench.load.grpc", *words, env=environment(**variables), seconds=seconds)


def _celery(loads: Mapping[str, Sequence[Load]]) -> Series:
    """Celery's client: in each round, the rate with the number of threads that was best in it."""
    by_threads = {key.split()[1]: loads[key] for key in loads if key.startswith("celery")}
    rates = ([load.rate for load in rounds] for rounds in by_threads.values())
    return Series(f"Celery's client, best of {', '.join(by_threads)} threads", best_of(*rates))


def _figures(series: Mapping[str, Series], loads: Mapping[str, Sequence[Load]]) -> Iterator[Figure]:
    ephemeral, durable, celery = series["ephemeral"], series["durable"], _celery(loads)
    goal = Goal(15, at_most=False)
    for key, rival in (("celery", celery), ("servicer", series["servicer"])):
        yield Figure(f"add_rate_{key}", _TITLE, "calls/s", ephemeral, rival, goal, row=2)
    goal = Goal(1.8, at_most=False)
    yield Figure("add_rate_echo", _TITLE, "calls/s", ephemeral, series["echo"], goal, row=4)
    p99 = tuple(load.p99_ms for load in loads["ephemeral"])
    p50 = tuple(load.p50_ms for load in loads["ephemeral"])
    tail, middle = Series(f"p99 of {ephemeral.name}", p99), Series("its p50", p50)
    yield Figure("add_tail", _TITLE, "ms", tail, middle, Goal(2), row=5)
    goal = Goal(5, at_most=False)
    yield Figure("add_rate_durable", _TITLE, "calls/s", durable, celery, goal, row=6)
    cost = Series("a call to the echo", tuple(load.cpu_us for load in loads["echo"]))
    yield Figure("load_cpu", "What the load itself takes of a core", "µs", cost)


def _line(contender: _Contender, loads: Sequence[Load]) -> Line:
    """The contender's line in the chart: the quantiles `SHARES` of its calls' times."""
    points = (
        (share, Series("", tuple(load.times_ms[index] for load in loads)))
        for index, share in enumerate(SHARES)
    )
    return Line(contender.name, tuple(points))
