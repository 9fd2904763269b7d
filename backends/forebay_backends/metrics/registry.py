"""The metrics of one process, in a registry of their own.

prometheus-client's default registry belongs to the application that may embed a gateway. In its
multiprocess mode, the gauges of a killed process would stay in the mode's files forever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import cast

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forebay_backends.metrics.histogram import Histogram
from forebay_backends.metrics.instruments import BY_NAME, INSTRUMENTS, Instrument, Kind, Source

Labels = tuple[str, ...]
Figures = Mapping[str, Mapping[Labels, float]]
"""The values of gauges and counters, by metric and labels."""


class Metrics:
    """The counters and histograms whose source is one of `sources`, by their names.

    Gauges have no object: each scrape calls the functions in `read_figures` for their values.
    Counters can be read in the same way where an instrument's 0.3 µs is too much. Unless `is_on`,
    the instruments count nothing.
    """

    def __init__(self, sources: Collection[Source], *, is_on: bool = True) -> None:
        self.registry = CollectorRegistry()
        self.read_figures: list[Callable[[], Figures]] = []
        self._made = {
            one.name: _made(one, self.registry) if is_on else _OFF
            for one in INSTRUMENTS
            if one.kind is not Kind.GAUGE and not one.sources.isdisjoint(sources)
        }
        self.registry.register(_Read(self.read_figures))

    def counter(self, name: str) -> Counter:
        return cast("Counter", self._made[name])

    def histogram(self, name: str) -> Histogram:
        return cast("Histogram", self._made[name])


class FamiliesOf(Collector):
    """Collects gauges and counters from figures; those of one name become one family."""

    def __init__(self, figures: Iterable[Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        of_all: dict[str, dict[Labels, float]] = {}
        for figures in self._figures:
            for name, values in figures.items():
                of_all.setdefault(name, {}).update(values)
        for name, values in of_all.items():
            one = BY_NAME[name]
            kind = GaugeMetricFamily if one.kind is Kind.GAUGE else CounterMetricFamily
            family = kind(name, one.help, labels=one.labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family


class _Read(Collector):
    def __init__(self, functions: Iterable[Callable[[], Figures]]) -> None:
        self._functions = functions

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        return FamiliesOf(read() for read in self._functions).collect()


class _Off:
    """An instrument that counts nothing."""

    def labels(self, *_: str) -> _Off:
        return self

    def inc(self, amount: float = 1) -> None:
        pass

    def observe(self, amount: float, exemplar: object = None) -> None:
        pass


_OFF = _Off()


def _made(one: Instrument, registry: CollectorRegistry) -> Counter | Histogram:
    if one.kind is Kind.COUNTER:
        return Counter(one.name, one.help, one.labels, registry=registry)
    histogram = Histogram(one)
    registry.register(histogram)
    return histogram
