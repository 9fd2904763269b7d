"""The handlers of a gateway's ports: of callers, of operators, and of the operators' page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from forebay.routes import Method
from forebay_backends.settings import Settings
from forebay_gateway.admin.descriptions import Descriptions
from forebay_gateway.admin.who_am_i import WhoAmI
from forebay_gateway.audit.audit_log import AuditLog
from forebay_gateway.guard.guard import Denial, Guard
from forebay_gateway.identity.requirements import MayCall, everything
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.context import Context, FindHandler, Handler
from forebay_gateway.scaling.external_scaler import ExternalScaler
from forebay_gateway.server.call_handler import CallHandler
from forebay_gateway.server.gateway_calls import GatewayCalls
from forebay_gateway.server.handlers import OwnServices, Wrap, find_handler, own_handlers
from forebay_gateway.server.health import HealthService
from forebay_gateway.server.identity import Identity
from forebay_gateway.server.limits import reads_of_own_services
from forebay_gateway.server.rpc_meter import RpcMeter


@dataclass(frozen=True)
class PortHandlers:
    """Find the handler of a path, on each port."""

    own: Mapping[str, Handler]
    """The gateway's own services on the port of callers, by path."""
    for_callers: FindHandler
    for_operators: FindHandler
    for_page: FindHandler
    """The handlers for the operators' page, which calls the routed methods, too."""


def make_port_handlers(
    settings: Settings,
    methods: Sequence[Method],
    calls: GatewayCalls,
    call_handler: CallHandler,
    health: HealthService,
    identity: Identity | None,
    audit: AuditLog,
    metrics: GatewayMetrics,
    *,
    serves_http: bool,
) -> PortHandlers:
    """Where authentication is off, no port has a guard."""
    guard = partial(_guard, identity, audit)
    callers = guard(methods)
    services = OwnServices(
        health,
        calls.admin,
        WhoAmI(methods, None if identity is None else identity.roles, _may_call(callers)),
        Descriptions(methods, _may_call(callers)),
        reads_of_own_services(settings),
    )
    own = own_handlers(methods, services, _may_call(callers))
    if serves_http:
        from forebay_gateway.server.web_surface import openapi_handlers

        own |= openapi_handlers(settings, methods, own, _may_call(callers))
    meter = RpcMeter(metrics.rpc_seconds).measured
    operators = guard((), for_operators=True)
    scaler = ExternalScaler(calls.scaled_queues(), calls.limits.queues)
    for_operators = own_handlers((), services, _may_call(operators), scaler)
    page = _wraps(guard(methods, for_operators=True), meter)
    return PortHandlers(
        own,
        find_handler(
            methods, call_handler, own, _wraps(callers, meter if metrics.counts_rpcs else None)
        ),
        find_handler((), call_handler, for_operators, _wraps(operators, None)),
        find_handler(methods, call_handler, for_operators, page),
    )


def _guard(
    identity: Identity | None,
    audit: AuditLog,
    methods: Sequence[Method],
    *,
    for_operators: bool = False,
) -> Guard | None:
    """The guard of a port that serves the methods; None where authentication is off."""
    if identity is None:
        return None
    return identity.guard(methods, partial(_on_denied, audit), for_operators=for_operators)


def _on_denied(audit: AuditLog, context: Context, denial: Denial) -> None:
    audit.denied(
        *(context, denial.error),
        path=denial.path,
        permission=denial.permission,
        principal=denial.principal,
    )


def _may_call(guard: Guard | None) -> MayCall:
    return everything if guard is None else guard.may_call


def _wraps(guard: Guard | None, meter: Wrap | None) -> list[Wrap]:
    return [*([] if guard is None else [guard.guarded]), *([] if meter is None else [meter])]
