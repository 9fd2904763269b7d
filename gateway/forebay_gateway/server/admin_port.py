"""The operators' port of a gateway: the one place for its HTTP routes and gRPC services.

Each gateway process serves all of it. Of several processes, each listens on a Unix socket in a
folder of their parent's. The parent listens on `admin_listen`: it puts the processes' metrics
together, answers probes, and relays every other connection to a process.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.routing import BaseRoute

from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.settings import Settings
from forebay_backends.settings.addresses import is_socket_path
from forebay_gateway.admin.siblings import Siblings
from forebay_gateway.admin_server.app import (
    FLEET,
    HEALTHZ,
    METRICS,
    PROCESS,
    READYZ,
    IsReady,
    admin_app,
    metrics_route,
)
from forebay_gateway.admin_server.first_bytes import HTTP2
from forebay_gateway.admin_server.gather import Processes
from forebay_gateway.admin_server.listener import AdminListener, RelayTo
from forebay_gateway.fronts.choice import make_front
from forebay_gateway.fronts.limits import front_limits
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.context import FindHandler
from forebay_gateway.server.errors import GatewayError
from forebay_gateway.server.sibling_processes import (
    make_sockets,
    shared_routes,
    sockets_of_processes,
)
from forebay_gateway.web.exchange import App

_PARENTS = (METRICS, HEALTHZ, READYZ)
"""Answered by the parent: also while a process hangs."""
_MAX_CALLS, _MAX_CONNECTIONS = 100, 100
_STOP_GRACE_S = 1.0


@dataclass(frozen=True)
class AdminServices:
    """What one gateway process serves on the port."""

    metrics: GatewayMetrics
    is_ready: IsReady
    find: FindHandler
    """Finds the handlers of the gRPC services."""
    routes: Sequence[BaseRoute] = field(default=())
    """The HTTP routes, in addition to metrics and probes."""
    with_page: Callable[[App], App] = lambda app: app
    """Puts the operators' page in front of the other routes."""
    siblings: Siblings = field(default_factory=Siblings)
    """What it shares with the other processes of the gateway."""


@asynccontextmanager
async def admin_port(settings: Settings, services: AdminServices) -> AsyncIterator[str]:
    """Serves on `admin_listen` until the block is left; yields its address.

    Raises GatewayError if it can't.
    """
    listen = _given(settings)
    metrics = services.metrics
    with _folder() as folder:
        grpc_socket = str(folder / "grpc")
        routes: list[BaseRoute] = [
            metrics_route(PROCESS, metrics.scrape_process),
            metrics_route(FLEET, metrics.scrape_fleet),
            *services.routes,
            *shared_routes(settings, services.siblings),
        ]
        sockets = sockets_of_processes(settings)
        scrape = Processes(sockets).scrape if sockets else metrics.scrape
        app = services.with_page(admin_app(scrape, services.is_ready, routes))
        listener = _listener(listen, app, lambda what: (grpc_socket,) if what == HTTP2 else ())
        front = make_front(
            settings.front,
            services.find,
            f"unix:{grpc_socket}",
            front_limits(settings.max_message_bytes, _MAX_CONNECTIONS, _MAX_CALLS),
            reuse_port=False,
        )
        await front.start()
        await listener.start()
        repairs = asyncio.create_task(front.keep_serving())
        try:
            yield listener.address
        finally:
            await cancel_all([repairs])
            await listener.stop()
            await front.stop(_STOP_GRACE_S)


@asynccontextmanager
async def admin_port_of_processes(settings: Settings) -> AsyncIterator[tuple[str, list[str]]]:
    """Serves on `admin_listen` for all processes; yields its address, and one for each of them.

    Raises GatewayError if it can't.
    """
    listen = _given(settings)
    with _folder() as folder:
        sockets = make_sockets(folder, settings.processes)
        processes = Processes(sockets)
        app = admin_app(processes.scrape, processes.is_ready)
        paths = [str(path) for path in sockets]
        listener = _listener(listen, app, lambda what: () if what in _PARENTS else paths)
        await listener.start()
        try:
            yield listener.address, [f"unix:{path}" for path in paths]
        finally:
            await listener.stop()


def _given(settings: Settings) -> str:
    if settings.admin_listen is None:
        raise ValueError("admin_listen is not set")
    return settings.admin_listen


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="forebay-") as folder:
        if not is_socket_path(f"unix:{folder}/process-0000"):
            raise GatewayError(f"{folder} is too long a path for Unix sockets: set TMPDIR")
        yield Path(folder)


def _listener(listen: str, app: App, relay_to: RelayTo) -> AdminListener:
    try:
        return AdminListener(listen, app, relay_to)
    except OSError as error:
        raise GatewayError(
            f"can't listen on admin_listen, {listen}: {error.strerror}; choose another address "
            "with --admin-listen HOST:PORT"
        ) from error
