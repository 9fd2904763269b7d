"""The list of measurements, with the rows of the report that each yields."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from bench import (
    all_secured,
    alone,
    big_products,
    caching,
    call_cpu,
    coroutines,
    costs,
    delays,
    factorials,
    finished,
    gateways,
    growth,
    idle,
    items,
    metrics,
    own_products,
    pools,
    processes,
    random_products,
    saturated,
    signing,
    tenants,
    tls,
    tokens,
    tracing,
    waiting,
    web,
)
from bench.rounds import Chart, Figure
from bench.stage import Stage


@dataclass(frozen=True)
class Measure:
    """A measurement, with its full and its quick plan; `rows` are the rows that it yields.

    `measure(stage, plan)` yields figures and charts. A plan has sizes and repetitions.
    """

    rows: tuple[int, ...]
    measure: Callable[[Stage, Any], Iterator[Figure | Chart]]
    full: Any
    quick: Any


MEASURES = (
    Measure((1, 6), alone.measure, alone.FULL, alone.QUICK),
    Measure((2, 3, 4, 5, 6), saturated.measure, saturated.FULL, saturated.QUICK),
    Measure((7,), call_cpu.measure, call_cpu.FULL, call_cpu.QUICK),
    Measure((8,), items.measure, items.FULL, items.QUICK),
    Measure((9,), own_products.measure, own_products.FULL, own_products.QUICK),
    Measure((10,), waiting.measure, waiting.FULL, waiting.QUICK),
    Measure((11,), gateways.measure, gateways.FULL, gateways.QUICK),
    Measure((12,), growth.measure, growth.FULL, growth.QUICK),
    Measure((13,), idle.measure, idle.FULL, idle.QUICK),
    Measure((14,), finished.measure, finished.FULL, finished.QUICK),
    Measure((15, 16), metrics.measure, metrics.FULL, metrics.QUICK),
    Measure((17,), random_products.measure, random_products.FULL, random_products.QUICK),
    Measure((18,), big_products.measure, big_products.FULL, big_products.QUICK),
    Measure((19, 20), factorials.measure, factorials.FULL, factorials.QUICK),
    Measure((21,), pools.measure, pools.FULL, pools.QUICK),
    Measure((22,), processes.measure, processes.FULL, processes.QUICK),
    Measure((23,), tracing.measure, tracing.FULL, tracing.QUICK),
    Measure((24,), tokens.measure, tokens.FULL, tokens.QUICK),
    Measure((25,), tls.measure, tls.FULL, tls.QUICK),
    Measure((26, 27), tenants.measure, tenants.FULL, tenants.QUICK),
    Measure((28,), signing.measure, signing.FULL, signing.QUICK),
    Measure((29,), web.measure, web.FULL, web.QUICK),
    Measure((30, 31, 32), caching.measure, caching.FULL, caching.QUICK),
    Measure((33, 34, 35), coroutines.measure, coroutines.FULL, coroutines.QUICK),
    Measure((36,), delays.measure, delays.FULL, delays.QUICK),
    Measure((37,), all_secured.measure, costs.FULL, costs.QUICK),
)


def run(rows: Collection[int], *, quick: bool) -> Generator[Figure | Chart, None, None]:
    """Yields the results of the measurements that have these rows, or of all if `rows` is empty.

    Shared processes run until the generator is exhausted or closed.
    """
    with Stage() as stage:
        for measure in MEASURES:
            if not rows or set(rows) & set(measure.rows):
                yield from measure.measure(stage, measure.quick if quick else measure.full)
