"""Builds the parts of one gateway from its settings. Nothing is connected or started here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from forebay.routes import Method
from forebay_backends.metrics.registry import Figures
from forebay_backends.settings import Settings
from forebay_backends.settings.addresses import is_loopback
from forebay_gateway.admin.call_access import CallAccess
from forebay_gateway.audit.audit_log import AuditLog
from forebay_gateway.fronts.front import NO_FRONT, Front
from forebay_gateway.identity.tenant_access import unless_known
from forebay_gateway.load_reports.utilization import Utilization
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.server.call_handler import CallHandler
from forebay_gateway.server.figures import expected_waits
from forebay_gateway.server.gateway_calls import GatewayCalls, make_calls
from forebay_gateway.server.health import HealthService
from forebay_gateway.server.identity import Identity
from forebay_gateway.server.memory_guard import MemoryGuard
from forebay_gateway.server.parts import (
    checks,
    front,
    parts_of_services,
    server_tls,
    siblings_of,
    tracing,
)
from forebay_gateway.server.port_handlers import PortHandlers, make_port_handlers
from forebay_gateway.server.security_problems import security_problems

if TYPE_CHECKING:
    from forebay_backends.telemetry.spans import Tracing
    from forebay_gateway.admin.siblings import Siblings
    from forebay_gateway.tls.server_tls import ServerTls
    from forebay_gateway.web.exchange import App
    from forebay_gateway.web.listener import WebListener

IDENTITY = "identity"
"""What the gateway's health needs besides its backends: keys with which to verify callers."""


@dataclass(frozen=True)
class Gateway:
    """The parts of one gateway."""

    settings: Settings
    methods: Sequence[Method]
    metrics: GatewayMetrics
    identity: Identity | None
    """None where authentication is off."""
    audit: AuditLog
    tls: ServerTls | None
    tracing: Tracing | None
    siblings: Siblings
    calls: GatewayCalls
    memory_guard: MemoryGuard
    health: HealthService
    handlers: PortHandlers
    front: Front
    web: WebListener | None

    def application(self) -> App:
        """The ASGI application of all that the gateway serves over HTTP."""
        return _application(self.settings, self.methods, self.handlers)


def make_gateway(
    settings: Settings,
    methods: Sequence[Method],
    listen: str | None,
    process: str,
    identity: Identity | None,
    audit: AuditLog,
) -> Gateway:
    """Makes the parts. Without `listen`, another ASGI server runs `Gateway.application`.

    Raises SettingsError or GatewayError.
    """
    may = unless_known if identity is None else identity.may
    admin_is_open = identity is not None or _is_local(settings, listen)
    metrics = _metrics(settings, methods, process, admin_is_open=admin_is_open)
    siblings, access = siblings_of(settings), CallAccess(may, audit)
    calls = make_calls(settings, methods, metrics, access, siblings, admin_is_open=admin_is_open)
    memory_guard = MemoryGuard(calls.limits.reads, settings.max_held_bytes)
    health = _health(methods, calls, identity)
    traces = tracing()
    call_handler = CallHandler(
        *(calls.limits, checks(settings), calls.ledger, calls.plain, metrics, traces),
        *(settings.trace_trust, _utilization(settings, calls), may, calls.quotas),
    )
    handlers = make_port_handlers(
        *(settings, methods, calls, call_handler, health, identity, audit, metrics),
        serves_http=settings.web_listen is not None or listen is None,
    )
    tls = server_tls(settings)
    _read_figures(metrics, calls, tls, identity, audit)
    if calls.admin is not None:
        calls.admin.problems.sources.append(partial(security_problems, tls, identity, audit))
    return Gateway(
        *(settings, methods, metrics, identity, audit, tls, traces),
        *(siblings, calls, memory_guard, health, handlers),
        NO_FRONT if listen is None else front(settings, handlers.for_callers, listen, tls),
        None if listen is None else _web_listener(settings, methods, handlers, tls),
    )


def _is_local(settings: Settings, listen: str | None) -> bool:
    """Whether only processes of this machine can reach the gateway."""
    return listen is not None and all(
        is_loopback(address) for address in (listen, settings.web_listen or listen)
    )


def _metrics(
    settings: Settings, methods: Sequence[Method], process: str, *, admin_is_open: bool
) -> GatewayMetrics:
    return GatewayMetrics(
        [method.name for method in methods],
        process,
        is_on=settings.admin_listen is not None,
        has_activity=admin_is_open,
        tenants=settings.tenants.keys() - {"*"},
    )


def _health(
    methods: Sequence[Method], calls: GatewayCalls, identity: Identity | None
) -> HealthService:
    has_keys = identity is None or identity.is_ready
    return HealthService(
        parts_of_services(methods, () if calls.admin is None else calls.admin.services),
        calls.needs | (set() if has_keys else {IDENTITY}),
    )


def _utilization(settings: Settings, calls: GatewayCalls) -> Utilization | None:
    return Utilization(calls.limits.admission) if settings.load_reports else None


def _read_figures(
    metrics: GatewayMetrics,
    calls: GatewayCalls,
    tls: ServerTls | None,
    identity: Identity | None,
    audit: AuditLog,
) -> None:
    """Adds the figures that are read at each scrape, without those of the ledger."""

    def limits() -> Figures:
        return {
            "forebay_held_bytes": {(): calls.limits.admission.bytes.held},
            **expected_waits(calls.limits.queues),
        }

    metrics.read_process.append(limits)
    metrics.read_process += [
        part.figures for part in (calls.quotas, tls, identity) if part is not None
    ]
    if audit.is_on:
        metrics.read_process.append(audit.figures)


def _web_listener(
    settings: Settings, methods: Sequence[Method], handlers: PortHandlers, tls: ServerTls | None
) -> WebListener | None:
    """None if `web_listen` is not set."""
    if settings.web_listen is None:
        return None
    from forebay_gateway.server.web import web_listener

    return web_listener(settings, _application(settings, methods, handlers), tls)


def _application(settings: Settings, methods: Sequence[Method], handlers: PortHandlers) -> App:
    from forebay_gateway.server.web import web_application

    return web_application(settings, methods, handlers.own, handlers.for_callers)
