"""The instruments of one gateway process, and the functions that a scrape calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

from forebay_backends.metrics.exposition import Renderer, merged
from forebay_backends.metrics.instruments import Source
from forebay_backends.metrics.registry import FamiliesOf, Figures, Metrics
from forebay_backends.signing.keyring import REFUSALS
from forebay_gateway.metrics.method_meter import MethodMeter
from forebay_gateway.metrics.tenant_meters import TenantMeters

ReadFleet = Callable[[], Awaitable[Figures]]


class GatewayMetrics:
    """One per gateway process; `process` is its number, from 1.

    The functions in `read_process` return this process's own figures, such as bytes held; those in
    `read_fleet` ask ledger or broker, once for each scrape. If metrics are off, only RPCs are
    counted, and only with `has_activity`: `ReadActivity` reports them. `tenants` are those that
    have labels of their own.
    """

    def __init__(
        self,
        methods: Collection[str] = (),
        process: str = "1",
        *,
        is_on: bool = True,
        has_activity: bool = False,
        tenants: Collection[str] = (),
    ) -> None:
        metrics = Metrics({Source.GATEWAY}, is_on=is_on)
        self.is_on = is_on
        self.counts_rpcs = is_on or has_activity
        self.read_process = metrics.read_figures
        self.read_fleet: list[ReadFleet] = []
        of_rpcs = metrics if is_on else Metrics({Source.GATEWAY}, is_on=has_activity)
        self.rpc_seconds = of_rpcs.histogram("rpc_server_call_duration_seconds")
        self.event_loop_lag = metrics.histogram("forebay_event_loop_lag_seconds").observe
        self.slow_callback = metrics.counter("forebay_event_loop_slow_callbacks_total").inc
        self._ledger = metrics.histogram("forebay_ledger_seconds")
        self._by_queue = {
            name: metrics.counter(name)
            for name in (
                "forebay_attempts_lost_total",
                "forebay_reruns_total",
                "forebay_messages_resent_total",
            )
        }
        self.tenants = TenantMeters(metrics, tenants)
        self._messages_refused = metrics.counter("forebay_messages_refused_total")
        for reason in REFUSALS:
            self._messages_refused.labels(reason)  # 0 until one is refused
        self._methods = {name: MethodMeter(metrics, name) for name in methods}
        self.registry = metrics.registry
        self._own, self._fleet = Renderer({"process": process}), Renderer()

    def method(self, name: str) -> MethodMeter:
        """The instruments of a method that is served."""
        return self._methods[name]

    def ledger(self, operation: str, seconds: float) -> None:
        """Counts a round trip to the ledger."""
        self._ledger.labels(operation).observe(seconds)

    def attempt_lost(self, queue: str) -> None:
        self._by_queue["forebay_attempts_lost_total"].labels(queue).inc()

    def rerun(self, queue: str) -> None:
        self._by_queue["forebay_reruns_total"].labels(queue).inc()

    def message_resent(self, queue: str) -> None:
        self._by_queue["forebay_messages_resent_total"].labels(queue).inc()

    def message_refused(self, reason: str) -> None:
        self._messages_refused.labels(reason).inc()

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that the client accepts, and its content type."""
        own, content_type = await self.scrape_process(accept)
        fleet, _ = await self.scrape_fleet(accept)
        return merged([own, fleet]), content_type

    async def scrape_process(self, accept: str) -> tuple[bytes, str]:
        """The metrics that this process has counted, like `scrape`."""
        return self._own.render(self.registry, accept)

    async def scrape_fleet(self, accept: str) -> tuple[bytes, str]:
        """The metrics that ledger and broker have of all processes, like `scrape`."""
        figures = await asyncio.gather(*(read() for read in self.read_fleet))
        return self._fleet.render(FamiliesOf(figures), accept)
