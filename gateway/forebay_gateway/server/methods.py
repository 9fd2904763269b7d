"""The methods that a gateway serves."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.routes import Method, RouteError
from forebay.routes.sources import read_all_methods
from forebay_backends.settings import Settings
from forebay_gateway.admin.services import SERVICES as ADMIN_SERVICES
from forebay_gateway.server.health import SERVICE as HEALTH_SERVICE
from forebay_gateway.server.reflection import SERVICES as REFLECTION_SERVICES
from forebay_gateway.web.rest.served_bindings import binding_problems


def load_methods(settings: Settings, *, serves_http: bool | None = None) -> tuple[Method, ...]:
    """The routed methods of compiled protobuf modules and of descriptor sets.

    Raises RouteError with every problem found. Bindings to HTTP are checked if the gateway
    `serves_http`, which by default depends on `web_listen`.
    """
    if serves_http is None:
        serves_http = settings.web_listen is not None
    methods = read_all_methods(
        settings.services,
        routes=settings.routes,
        applications=settings.applications,
        every_route=True,
        further_problems=binding_problems if serves_http else None,
        caches=settings.caches,
        retention_s=settings.retention_s,
    )
    own = (*ADMIN_SERVICES, HEALTH_SERVICE, *REFLECTION_SERVICES)
    taken = sorted({method.service for method in methods} & set(own))
    if taken:
        raise RouteError([f"{name} is a service of the gateway's own; rename it" for name in taken])
    return methods


def applications_of(methods: Sequence[Method]) -> list[str]:
    """The names of the applications whose plain tasks the methods run, the main one's first."""
    return sorted({method.application for method in methods if method.is_plain})


def needs_main_broker(methods: Sequence[Method]) -> bool:
    """Whether any method uses the gateway's own broker, not that of a named application."""
    return any(not method.application for method in methods)


def needs_ledger(methods: Sequence[Method]) -> bool:
    """Whether any method is durable or ephemeral: plain Celery tasks need no ledger."""
    return any(not method.is_plain for method in methods)
