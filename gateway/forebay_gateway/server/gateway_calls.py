"""All calls of one gateway: the parts that serve them, by backend, with their limits and quotas."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from forebay.routes import Method
from forebay_backends.ledger.frames import Recall
from forebay_backends.settings import Settings
from forebay_gateway.admin.call_access import CallAccess
from forebay_gateway.admin.services import AdminOptions, AdminServices
from forebay_gateway.admin.siblings import Siblings
from forebay_gateway.admission.queue_monitor import QueueMonitor
from forebay_gateway.fleet.worker_problems import Consumers
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.quotas.tenant_quotas import TenantQuotas
from forebay_gateway.scaling.queues import PlainQueues, Queues
from forebay_gateway.server.call_handler import CallLimits
from forebay_gateway.server.draining import drained
from forebay_gateway.server.figures import plain_queue_figures
from forebay_gateway.server.health import HealthService
from forebay_gateway.server.ledger_calls import LedgerCalls
from forebay_gateway.server.limits import limits_of_calls, limits_of_queues, monitor_of_queues
from forebay_gateway.server.methods import needs_ledger
from forebay_gateway.server.parts import plain_calls

if TYPE_CHECKING:
    from forebay_gateway.plain.calls import PlainCalls

LEDGER, PLAIN = "ledger", "plain"
"""What the main part needs, for its health."""


@dataclass(frozen=True)
class GatewayCalls:
    """Durable and ephemeral calls use the ledger; plain ones are by application."""

    ledger: LedgerCalls | None
    plain: Mapping[str, PlainCalls]
    limits: CallLimits
    monitors: Sequence[QueueMonitor]
    quotas: TenantQuotas | None
    """None where nothing tells one tenant from another."""

    @property
    def admin(self) -> AdminServices | None:
        """None without a ledger."""
        return None if self.ledger is None else self.ledger.admin

    @property
    def needs(self) -> set[str]:
        """What the main part needs."""
        return {
            *(() if self.ledger is None else (LEDGER,)),
            *((PLAIN,) if "" in self.plain else ()),
        }

    def scaled_queues(self) -> dict[str, Queues]:
        """The queues that can be scaled, by application like the limits of queues."""
        plain = {name: PlainQueues(calls) for name, calls in self.plain.items()}
        return {**plain, **({} if self.ledger is None else {"": self.ledger.queues})}

    def loops(self, health: HealthService) -> Iterator[Coroutine[Any, Any, None]]:
        """The coroutines that run as long as the gateway does; they report to `health`."""
        if self.ledger is not None:
            yield from self.ledger.loops(partial(health.set_met, LEDGER))
        for name, calls in self.plain.items():
            yield from calls.loops(
                partial(health.set_up, name) if name else partial(health.set_met, PLAIN)
            )
        yield from (monitor.run() for monitor in self.monitors)
        if self.quotas is not None:
            yield self.quotas.run()

    async def subscribed(self) -> None:
        """Waits for the subscriptions to call events; not for a missing backend."""
        await asyncio.gather(*(calls.subscribed() for calls in self._by_backend()))

    async def drain(self, grace_s: float) -> None:
        """Waits for calls in flight, and aborts the rest."""
        await drained(self.limits.admission, grace_s)
        for calls in self._by_backend():
            calls.abort_remaining()

    async def join(self) -> None:
        """Waits for the background work of calls that are over."""
        await asyncio.gather(*(calls.join() for calls in self._by_backend()))
        if self.quotas is not None:
            await self.quotas.join()

    async def close(self) -> None:
        """Closes the connections to the backends."""
        await asyncio.gather(*(calls.close() for calls in self._by_backend()))

    def _by_backend(self) -> Iterator[LedgerCalls | PlainCalls]:
        if self.ledger is not None:
            yield self.ledger
        yield from self.plain.values()


def make_calls(
    settings: Settings,
    methods: Sequence[Method],
    metrics: GatewayMetrics,
    access: CallAccess,
    siblings: Siblings,
    *,
    admin_is_open: bool,
) -> GatewayCalls:
    """The parts that serve the methods, of which none has connected yet."""
    plain = plain_calls(settings, methods)
    queues = limits_of_queues(methods, settings.max_queue_depth)
    ledger = None
    if needs_ledger(methods):
        admin = AdminOptions(
            is_open=admin_is_open,
            access=access,
            siblings=siblings,
            plain_consumers_of=partial(_plain_consumers_of, plain),
            expected_wait_s=lambda queue: queues[""][queue].wait_s,
        )
        ledger = LedgerCalls(settings, methods, metrics, admin)
    metrics.read_fleet += [
        partial(plain_queue_figures, calls, name) for name, calls in plain.items()
    ]
    return GatewayCalls(
        ledger,
        plain,
        limits_of_calls(settings, queues),
        [
            monitor_of_queues(name, limits, methods, ledger, plain.get(name))
            for name, limits in queues.items()
        ],
        _tenant_quotas(settings, ledger),
    )


def _plain_consumers_of(plain: Mapping[str, PlainCalls], method: Method) -> Consumers:
    return plain[method.application].workers.consumers_of(method)


def _tenant_quotas(settings: Settings, ledger: LedgerCalls | None) -> TenantQuotas | None:
    if not settings.auth.is_on and not settings.tenants:
        return None
    if ledger is None:
        return TenantQuotas(settings.tenants, "", None, settings.processes)
    quotas = TenantQuotas(settings.tenants, ledger.channel, ledger.run_small)
    ledger.listen_to(Recall, on_frame=quotas.on_frame)
    return quotas
