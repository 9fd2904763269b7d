"""The cost of metrics: the CPU time of a saturated ephemeral call, and a scrape under load."""

from __future__ import annotations

import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import systems
from bench.cpu import family
from bench.rounds import Figure, Goal, Series, interleave
from bench.saturated import cpu_and_rate, grpc_load
from bench.stage import Stage
from tests.harness import free_port

_IN_FLIGHT = 64
_PROCESSES = 4
_BETWEEN_SCRAPES_S = 0.1
_WARM_UP_S = 0.5


@dataclass(frozen=True)
class Plan:
    """The rounds, the duration of each load, and the gateway's fronts to measure."""

    rounds: int
    load_s: float
    fronts: tuple[str, ...]


FULL = Plan(rounds=7, load_s=3.0, fronts=("grpc", "native"))
QUICK = Plan(rounds=1, load_s=0.5, fronts=("native",))


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Gateways and workers with metrics and without take turns; then a gateway is scraped."""
    for front in plan.fronts:
        with ExitStack() as stack:
            systems_by_metrics = {
                is_on: stack.enter_context(_system(front, plan.load_s, is_on=is_on))
                for is_on in (True, False)
            }
            costs = interleave(plan.rounds, systems_by_metrics)
        on = Series(f"with metrics, front {front}", costs[True])
        off = Series("without", costs[False])
        title = f"CPU of all processes a saturated Add, {_IN_FLIGHT} in flight"
        yield Figure(f"metrics_cpu_{front}", title, "µs", on, off, Goal(1.03), row=15)
    times = tuple(_scrape_times(plan))
    series = Series(f"median of a round, {_PROCESSES} processes under load", times)
    yield Figure("metrics_scrape", "A scrape of a gateway", "ms", series, goal=Goal(50), row=16)


@contextmanager
def _system(front: str, seconds: float, *, is_on: bool) -> Iterator[Callable[[], float]]:
    """Starts a system; yields a function that measures the µs of CPU a call, in all processes."""
    # On loopback, the gateway would serve ReadActivity, and so count RPCs even without metrics.
    off = ("--listen", "0.0.0.0:0", "--insecure")
    admin = ("--admin-listen", f"127.0.0.1:{free_port()}") if is_on else off
    metrics = ("--metrics", f"127.0.0.1:{free_port()}") if is_on else ()
    with (
        systems.backend(FOREBAY_FRONT=front) as backend,
        systems.celery_worker("forebay_workers", "add", backend.product_env, *metrics) as worker,
        systems.gateway(backend, 1, *admin) as (listen, gateway_pid),
    ):
        address = f"127.0.0.1:{listen.rpartition(':')[2]}"
        grpc_load(address, "ephemeral", _IN_FLIGHT, _WARM_UP_S)
        pids = (gateway_pid, *family(worker.popen.pid), backend.server_pid)

        def cost() -> float:
            return cpu_and_rate(address, pids, _IN_FLIGHT, seconds)[0]

        yield cost


def _scrape_times(plan: Plan) -> Iterator[float]:
    """The median duration of a scrape in each round, in ms."""
    admin = f"127.0.0.1:{free_port()}"
    with (
        systems.backend() as backend,
        systems.workers(backend),
        systems.gateway(backend, _PROCESSES, "--admin-listen", admin) as (address, _),
        ThreadPoolExecutor(1) as executor,
    ):
        for _ in range(plan.rounds):
            load = executor.submit(grpc_load, address, "ephemeral", _IN_FLIGHT, plan.load_s)
            times = []
            while not load.done():
                times.append(_scrape_ms(admin))
                time.sleep(_BETWEEN_SCRAPES_S)
            yield statistics.median(times)


def _scrape_ms(admin: str) -> float:
    begun = time.perf_counter()
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=30) as response:
        assert b'process="1"' in response.read()
    return (time.perf_counter() - begun) * 1000
