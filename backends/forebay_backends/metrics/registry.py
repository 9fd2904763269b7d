"""The instruments of one process, in a registry of their own.

Not prometheus-client's default registry, which belongs to the application that may embed a gateway;
and not its multiprocess mode, in whose files the gauges of a process that was killed stay forever.
"""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from forebay_backends.metrics.instruments import INSTRUMENTS, Instrument, Kind, Source


class Metrics:
    """The instruments whose source is one of `sources`, by their names."""

    def __init__(self, sources: Collection[Source]) -> None:
        self.registry = CollectorRegistry()
        self._made = {
            one.name: _made(one, self.registry) for one in INSTRUMENTS if one.source in sources
        }

    def counter(self, name: str) -> Counter:
        found = self._made[name]
        assert isinstance(found, Counter)  # noqa: S101 - of the table, not of input
        return found

    def gauge(self, name: str) -> Gauge:
        found = self._made[name]
        assert isinstance(found, Gauge)  # noqa: S101
        return found

    def histogram(self, name: str) -> Histogram:
        found = self._made[name]
        assert isinstance(found, Histogram)  # noqa: S101
        return found


def _made(one: Instrument, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    match one.kind:
        case Kind.COUNTER:
            return Counter(one.name, one.help, one.labels, registry=registry)
        case Kind.GAUGE:
            return Gauge(one.name, one.help, one.labels, registry=registry)
        case Kind.HISTOGRAM:
            return Histogram(one.name, one.help, one.labels, registry=registry, buckets=one.buckets)
