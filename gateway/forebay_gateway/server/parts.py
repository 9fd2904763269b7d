"""The parts of a gateway that its settings describe and its methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forebay.checks import CheckFactory, load_checks
from forebay.routes import Method
from forebay_backends.settings import Settings, SettingsError
from forebay_backends.telemetry.tracing import TracingError, make_tracing
from forebay_gateway.admin.siblings import Siblings
from forebay_gateway.fronts.choice import FrontMissing, make_front
from forebay_gateway.fronts.front import Front
from forebay_gateway.fronts.limits import front_limits
from forebay_gateway.rpc.context import FindHandler
from forebay_gateway.server.connection_limit import max_connections
from forebay_gateway.server.errors import GatewayError, address_in_use
from forebay_gateway.server.methods import applications_of
from forebay_gateway.server.port import can_share_port

if TYPE_CHECKING:
    from forebay_backends.telemetry.spans import Tracing
    from forebay_gateway.plain.calls import PlainCalls
    from forebay_gateway.tls.server_tls import ServerTls


def plain_calls(settings: Settings, methods: Sequence[Method]) -> dict[str, PlainCalls]:
    """The calls of plain tasks, by application."""
    applications = applications_of(methods)
    if not applications:
        return {}
    # Celery takes 10 MB of memory, which only plain tasks need.
    from forebay_gateway.plain.calls import PlainCalls

    return {
        name: PlainCalls(settings, settings.application(name), methods) for name in applications
    }


def checks(settings: Settings) -> dict[str, CheckFactory]:
    """The checks of the methods that have one, by the method's name."""
    try:
        return load_checks(settings.checks)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def tracing() -> Tracing | None:
    """None if nothing is traced."""
    try:
        return make_tracing("forebay-gateway")
    except TracingError as error:
        raise SettingsError(str(error)) from error


def siblings_of(settings: Settings) -> Siblings:
    """The gateway's other processes, which can be reached only if it has an operators' port."""
    if settings.admin_listen is None or settings.processes == 1:
        return Siblings()
    # The HTTP library takes memory, which only the operators' port needs.
    from forebay_gateway.server.sibling_processes import make_siblings

    return make_siblings(settings)


def parts_of_services(
    methods: Sequence[Method], admin_services: Sequence[str]
) -> dict[str, set[str]]:
    """The applications that each service needs; "" stands for the ledger and the main broker."""
    parts: dict[str, set[str]] = {service: {""} for service in admin_services}
    for method in methods:
        parts.setdefault(method.service, set()).add(method.application)
    return parts


def server_tls(settings: Settings) -> ServerTls | None:
    """What the port shows to callers; None: plain text."""
    if settings.tls is None:
        return None
    # Cryptography takes 10 MB of memory, which plain text does not need.
    from forebay_gateway.tls.server_tls import ServerTls

    try:
        return ServerTls(settings.tls)
    except ValueError as error:
        raise SettingsError(f"tls: {error}") from error


def front(settings: Settings, find: FindHandler, listen: str, tls: ServerTls | None) -> Front:
    """The gRPC server of the port."""
    connections = max_connections(1 if settings.web_listen is None else 2)
    limits = front_limits(settings.max_message_bytes, connections, settings.max_calls)
    try:
        return make_front(
            settings.front, find, listen, limits, reuse_port=can_share_port(listen), tls=tls
        )
    except FrontMissing as error:
        raise GatewayError(str(error)) from error
    except (OSError, RuntimeError) as error:
        raise address_in_use(listen) from error
