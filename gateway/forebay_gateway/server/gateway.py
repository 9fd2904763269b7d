"""One gateway: built from settings and methods, served, and drained."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from forebay.routes import Method
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.aio.polling import poll_until
from forebay_backends.process.descriptors import raise_limit
from forebay_backends.process.memory import keep_freed_memory
from forebay_backends.settings import Settings
from forebay_gateway.audit.audit_log import open_audit
from forebay_gateway.metrics.event_loop_lag import watch_event_loop_lag
from forebay_gateway.profiling.slow_callbacks import SlowCallbacks
from forebay_gateway.server.assembly import IDENTITY, Gateway, make_gateway
from forebay_gateway.server.backend_urls import check_backend_urls
from forebay_gateway.server.connection_limit import report_limit
from forebay_gateway.server.identity import make_identity, warn_if_insecure
from forebay_gateway.server.key_watch import watch_keys
from forebay_gateway.server.lame_duck import LameDuck
from forebay_gateway.server.memory_guard import return_freed_memory
from forebay_gateway.server.methods import load_methods
from forebay_gateway.server.port import can_share_port, reserved_port

if TYPE_CHECKING:
    from forebay_gateway.web.exchange import App

_CANCEL_GRACE_S = 1.0
_FIRST_HEALTH_S = 2.0
"""How long a start waits for its backends: with those up, a gateway that is ready is SERVING."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def running_gateway(
    settings: Settings,
    methods: Sequence[Method] = (),
    lame_duck: LameDuck | None = None,
    process: str = "1",
) -> AsyncIterator[str]:
    """Serves until the block is left, then drains; yields the address, HOST:PORT.

    Without `methods`, the gateway serves those of the settings' services. `process` is its number
    among several, for its metrics.

    Start order: the address is reserved, so that a second gateway on it fails before it has
    touched anything; the operators' port opens, whose probes answer from then on; the loops
    connect to the backends; when these answer, or after a while, callers are accepted.

    Shutdown order: health reports NOT_SERVING; during the lame-duck time, if there is one, calls
    are still accepted; then the port closes and each connection gets a GOAWAY, so that clients
    and proxies start no further call on it; calls in flight get `drain_s`; the rest are
    aborted, so that clients resume them at another gateway; last the connections to the
    backends close, since all of the above uses them.

    Raises SettingsError, RouteError or GatewayError if the gateway can't start.
    """
    async with _running(settings, methods, lame_duck, process) as gateway:
        yield gateway.front.address


@asynccontextmanager
async def mounted_gateway(settings: Settings, methods: Sequence[Method] = ()) -> AsyncIterator[App]:
    """Like `running_gateway`, but listens for no callers: yields the web front's application."""
    async with _running(settings, methods, None, "1", listens=False) as gateway:
        yield gateway.application()


@asynccontextmanager
async def _running(
    settings: Settings,
    methods: Sequence[Method],
    lame_duck: LameDuck | None,
    process: str,
    *,
    listens: bool = True,
) -> AsyncIterator[Gateway]:
    keep_freed_memory()
    raise_limit()
    methods = methods or load_methods(settings, serves_http=None if listens else True)
    identity = make_identity(settings, methods)
    await check_backend_urls(settings, methods)
    port = _port(settings) if listens else nullcontext(None)
    with open_audit(settings) as audit, port as listen:
        one = settings.of_one_process()
        gateway = make_gateway(one, methods, listen, process, identity, audit)
        async with _admin_port(gateway), asyncio.TaskGroup() as background:
            loops = [background.create_task(loop) for loop in _loops(gateway)]
            try:
                await _connected(gateway)
                await _start(gateway)
                repairs = background.create_task(gateway.front.keep_serving())
                try:
                    yield gateway
                finally:
                    await _shut_down(gateway, lame_duck, repairs)
            finally:
                await cancel_all(loops)
        await gateway.calls.close()
        if gateway.tracing is not None:
            await asyncio.to_thread(gateway.tracing.flush)


def _port(settings: Settings) -> AbstractContextManager[str]:
    """Reserves the address, unless the parent of several gateway processes does."""
    if settings.processes > 1 or not can_share_port(settings.listen):
        return nullcontext(settings.listen)
    return reserved_port(settings.listen)


@asynccontextmanager
async def _admin_port(gateway: Gateway) -> AsyncIterator[None]:
    """Serves operators until the block is left, if there is an address for it."""
    if gateway.settings.admin_listen is None:
        yield
        return
    from forebay_gateway.server.admin_port import AdminServices, admin_port

    async def is_ready() -> bool:
        return gateway.health.is_serving

    services = AdminServices(
        gateway.metrics,
        is_ready,
        gateway.handlers.for_operators,
        with_page=partial(_with_page, gateway),
        siblings=gateway.siblings,
    )
    async with admin_port(gateway.settings, services) as address:
        _log.info("metrics and probes on %s", address)
        yield


def _with_page(gateway: Gateway, app: App) -> App:
    """The app of the operators' port, with the page if the settings want it."""
    settings, find = gateway.settings, gateway.handlers.for_page
    if settings.page == "off":
        return app
    from forebay_gateway.server.page import with_operators_page

    return with_operators_page(app, settings, gateway.methods, find, lambda: gateway.front.address)


def _loops(gateway: Gateway) -> Iterator[Coroutine[Any, Any, None]]:
    """The coroutines that run as long as the gateway does."""
    yield from gateway.calls.loops(gateway.health)
    if gateway.metrics.is_on:
        yield watch_event_loop_lag(gateway.metrics.event_loop_lag)
    yield gateway.memory_guard.watch()
    yield return_freed_memory()
    yield report_limit()
    if gateway.tls is not None:
        yield gateway.tls.files.watch()
    if gateway.identity is not None:
        yield from gateway.identity.loops(partial(gateway.health.set_met, IDENTITY))
    if gateway.audit.is_on:
        yield gateway.audit.run()
        yield watch_keys(gateway.audit, gateway.identity, gateway.tls)
    yield SlowCallbacks(gateway.metrics.slow_callback).watch()


async def _connected(gateway: Gateway) -> None:
    """Waits for the subscriptions to call events and for SERVING; not for a missing backend."""
    await asyncio.gather(
        gateway.calls.subscribed(),
        poll_until(lambda: gateway.health.is_serving, _FIRST_HEALTH_S),
    )
    warn_if_insecure(gateway.settings, gateway.front.address)
    if gateway.web is not None:
        warn_if_insecure(gateway.settings, gateway.web.address)
    if gateway.calls.admin is not None:
        gateway.calls.admin.warn_if_closed()


async def _start(gateway: Gateway) -> None:
    """Accepts callers from now on."""
    await gateway.front.start()
    if gateway.web is not None:
        await gateway.web.start()


async def _shut_down(
    gateway: Gateway, lame_duck: LameDuck | None, repairs: asyncio.Task[None]
) -> None:
    gateway.health.drain()
    if lame_duck is not None:
        await lame_duck.wait()
    await cancel_all([repairs])
    drain_s = gateway.settings.drain_s
    async with asyncio.TaskGroup() as closing:
        closing.create_task(_close_ports(gateway, drain_s + _CANCEL_GRACE_S))
        await gateway.calls.drain(drain_s)
        await gateway.front.stop(_CANCEL_GRACE_S)
    await gateway.calls.join()


async def _close_ports(gateway: Gateway, grace_s: float) -> None:
    """Closes the ports of callers, and gives RPCs in flight the grace."""
    web = () if gateway.web is None else (gateway.web.stop(),)
    await asyncio.gather(gateway.front.stop(grace_s), *web)
