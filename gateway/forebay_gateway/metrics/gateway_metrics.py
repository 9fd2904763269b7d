"""The instruments of one gateway process, and what is read at a scrape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from forebay_backends.metrics.exposition import Labelled, merged, rendered
from forebay_backends.metrics.instruments import Source
from forebay_backends.metrics.registry import Metrics

ReadFleet = Callable[[], Awaitable[Sequence[Metric]]]


class GatewayMetrics:
    """One per gateway process; `process` is its number, from 1.

    Figures that others have, such as bytes held, are gauges whose function is set with
    `instruments.gauge(name).set_function`. Those of the fleet are read by the functions of
    `read_fleet`, once for each scrape.
    """

    def __init__(self, methods: Collection[str], process: str = "1") -> None:
        self.methods = frozenset(methods)
        self.instruments = Metrics({Source.GATEWAY, Source.BOTH})
        self.read_fleet: list[ReadFleet] = []
        self._own = Labelled(self.instruments.registry, {"process": process})

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that the client accepts, and its content type."""
        own, content_type = await self.scrape_process(accept)
        fleet, _ = await self.scrape_fleet(accept)
        return merged([own, fleet]), content_type

    async def scrape_process(self, accept: str) -> tuple[bytes, str]:
        """What this process has counted."""
        return rendered(self._own, accept)

    async def scrape_fleet(self, accept: str) -> tuple[bytes, str]:
        """What ledger and broker know of all processes."""
        families = [family for read in self.read_fleet for family in await read()]
        return rendered(_Read(families), accept)


class _Read(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
