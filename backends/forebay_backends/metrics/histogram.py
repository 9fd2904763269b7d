"""A histogram without locks.

prometheus-client's histogram takes two locks and compares every bucket: 1.6 µs, and a call observes
three. This one takes 0.2 µs. It is not thread-safe: threads that share one must lock.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import utils
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from forebay_backends.metrics.instruments import Instrument

_INFINITY = float("inf")


class Series:
    """The observations with the same labels."""

    __slots__ = ("_bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many observations each bucket has; the last one those over all bounds."""
        self.exemplars: dict[int, Exemplar] = {}
        """The latest exemplar of each bucket."""
        self.total = 0.0

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Counts an observation; `exemplar` has the labels of one, such as a trace's id."""
        bucket = bisect_left(self._bounds, amount)
        self.counts[bucket] += 1
        self.total += amount
        if exemplar is not None:
            self.exemplars[bucket] = Exemplar(dict(exemplar), amount, time.time())


class Histogram(Collector):
    """A histogram with the methods of prometheus-client's that we use."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._bounds = tuple(map(utils.floatToGoString, (*instrument.buckets, _INFINITY)))
        self._series: dict[tuple[str, ...], Series] = {}
        if not instrument.labels:
            self.observe = self.labels().observe

    def labels(self, *values: str) -> Series:
        """The series with these labels' values, in the instrument's order."""
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self._instrument.labels):
                raise ValueError(f"{self._instrument.name} has labels {self._instrument.labels}")
            series = self._series[values] = Series(self._instrument.buckets)
        return series

    def describe(self) -> Iterable[Metric]:
        """The family without samples: a registry registers its name."""
        return (self._family(),)

    def collect(self) -> Iterator[Metric]:
        """All series, with cumulative buckets as Prometheus has them."""
        family = self._family()
        for labels, series in list(self._series.items()):
            counts = enumerate(zip(self._bounds, accumulate(series.counts), strict=True))
            buckets: Any = [(*counted, series.exemplars.get(n)) for n, counted in counts]
            family.add_metric(labels, buckets, series.total)
        yield family

    def _family(self) -> HistogramMetricFamily:
        one = self._instrument
        return HistogramMetricFamily(one.name, one.help, labels=one.labels)
