"""Builds the web front of a gateway from its services, protocols and routes.

Starlette and uvicorn are imported here alone, so that a gateway without `web_listen` has neither in
its memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from starlette.routing import Mount, Route

from forebay.routes import Method
from forebay_backends.settings import Settings
from forebay_gateway.fronts.limits import front_limits
from forebay_gateway.rpc.context import FindHandler
from forebay_gateway.server.connection_limit import max_connections
from forebay_gateway.server.errors import address_in_use
from forebay_gateway.server.port import can_share_port
from forebay_gateway.server.web_surface import bindings_of, services_of
from forebay_gateway.web.application import CONNECT_AND_GRPC_WEB, application
from forebay_gateway.web.connection import ConnectionLimits
from forebay_gateway.web.exchange import App
from forebay_gateway.web.listener import WebListener
from forebay_gateway.web.methods import web_methods
from forebay_gateway.web.openapi.endpoint import DocumentEndpoint
from forebay_gateway.web.rest.protocol import Rest, RestStream
from forebay_gateway.web.rest.served_bindings import OPENAPI_PATH
from forebay_gateway.web.security import Policy
from forebay_gateway.web.sse.protocol import EventStream
from forebay_gateway.web.sse.subscription import CallKind

if TYPE_CHECKING:
    from forebay_gateway.tls.server_tls import ServerTls

_BODY_SLACK_S = 5.0
"""Leaves time to send the caller an error before its connection is closed."""
_CANCEL_GRACE_S = 2.0


def web_application(
    settings: Settings, methods: Sequence[Method], own: Iterable[str], find: FindHandler
) -> App:
    """The application of the routed methods and of the gateway's `own`, given by their paths."""
    limits = front_limits(settings.max_message_bytes, max_connections(), settings.max_calls)
    safe = {method.path for method in methods if method.no_side_effects}
    served = web_methods(services_of(methods, own), find, safe)
    bindings = bindings_of(methods, own)
    events = EventStream({method.path: _kind(method) for method in methods})
    return application(
        *(served, limits, policy_of(settings)),
        protocols=(events, *CONNECT_AND_GRPC_WEB, RestStream()),
        routes=[
            Route(OPENAPI_PATH, DocumentEndpoint(find(OPENAPI_PATH), limits)),
            Mount("/", Rest(bindings, served, limits, events)),
        ],
        http_methods={"GET", "POST", *(binding.http_method for binding in bindings)},
    )


def web_listener(settings: Settings, app: App, tls: ServerTls | None) -> WebListener:
    """Serves the application on `web_listen`; raises GatewayError if it can't."""
    listen = settings.web_listen
    if listen is None:
        raise ValueError("web_listen is not set")
    limits = ConnectionLimits(max_connections(ports=2), settings.first_request_s + _BODY_SLACK_S)
    try:
        return WebListener(
            *(listen, app, limits),
            reuse_port=can_share_port(listen),
            grace_s=settings.drain_s + _CANCEL_GRACE_S,
            tls=None if tls is None else lambda: tls.current.web_context,
        )
    except OSError as error:
        raise address_in_use(listen, "--web-listen") from error


def policy_of(settings: Settings) -> Policy:
    """Which hosts and origins the settings name; the host of `web_listen` needs no mention."""
    listen = settings.web_listen or ""
    own = () if listen.startswith("unix:") else (listen.rpartition(":")[0].lower(),)
    return Policy(frozenset((*settings.web_hosts, *own)), settings.web_origins)


def _kind(method: Method) -> CallKind:
    return CallKind(is_resumable=not method.is_plain, transient=method.route.transient)
