"""The operators' port of a gateway: the one place for its HTTP routes and gRPC services.

Each gateway process serves all of it. Of several processes, each listens on a Unix socket in a
folder of their parent's. The parent listens on `admin_listen`: it puts the processes' metrics
together, answers probes, and relays every other connection to a process.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.settings import Settings
from forebay_backends.settings.addresses import is_socket_path
from forebay_gateway.admin.siblings import Share, Siblings
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
from forebay_gateway.admin_server.gather import PROOF, Processes
from forebay_gateway.admin_server.listener import AdminListener, RelayTo
from forebay_gateway.fronts.choice import make_front
from forebay_gateway.fronts.limits import front_limits
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.context import FindHandler
from forebay_gateway.server.errors import GatewayError
from forebay_gateway.web.exchange import App

_PARENTS = (METRICS, HEALTHZ, READYZ)
"""Answered by the parent: also while a process hangs."""
_SHARED = "/shared"
"""What one process has, for the others."""
_PROOF_FILE = "proof"
_MAX_CALLS, _MAX_CONNECTIONS = 100, 100
_STOP_GRACE_S = 1.0


@dataclass(frozen=True)
class AdminServices:
    """What one gateway process serves on the port."""

    metrics: GatewayMetrics
    is_ready: IsReady
    find: FindHandler
    """Of the gRPC services."""
    routes: Sequence[BaseRoute] = field(default=())
    """Of HTTP, besides metrics and probes."""
    with_page: Callable[[App], App] = lambda app: app
    """Puts the operators' page in front of the other routes."""
    siblings: Siblings | None = None
    """What it shares with the other processes of the gateway, and how it asks for theirs."""


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
        ]
        siblings = _siblings(settings)
        if siblings and services.siblings is not None:
            others = [path for path in siblings if path != _own_socket(settings)]
            secret = (_own_socket(settings).parent / _PROOF_FILE).read_text()
            routes += _shared(services.siblings, Processes(others), secret)
        scrape = Processes(siblings).scrape if siblings else metrics.scrape
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
        sockets = _sockets(folder, settings.processes)
        # The folder is this user's alone; whoever reaches the port can't read it.
        (folder / _PROOF_FILE).write_text(secrets.token_urlsafe(32))
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


def _sockets(folder: Path, processes: int) -> list[Path]:
    return [folder / f"process-{number + 1}" for number in range(processes)]


def _siblings(settings: Settings) -> list[Path]:
    """The sockets of all processes, of which this is one; none if it is the only one."""
    if settings.processes == 1:
        return []
    return _sockets(_own_socket(settings).parent, settings.processes)


def _own_socket(settings: Settings) -> Path:
    return Path(_given(settings).removeprefix("unix:"))


def _shared(siblings: Siblings, others: Processes, secret: str) -> list[Route]:
    """The routes of what this process shares; from now on it asks the others."""
    siblings.ask = lambda name, first: others.answers(f"{_SHARED}/{name}?first={first}", secret)
    return [
        _shared_route(f"{_SHARED}/{name}", share, secret) for name, share in siblings.shares.items()
    ]


def _shared_route(path: str, share: Share, secret: str) -> Route:
    async def shared(request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get(PROOF, ""), secret):
            return PlainTextResponse("not found\n", 404)
        first = request.query_params.get("first", "")
        if not first.isdecimal():
            return PlainTextResponse("expected ?first=NUMBER\n", 400)
        return Response(share(int(first)), media_type="application/json")

    return Route(path, shared)


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
