"""A gateway, put together and run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from ipaddress import ip_address
from typing import Any

import grpc

from forebay.checks import CheckFactory, load_checks
from forebay.errors import MethodUnknown
from forebay.routes import Method, RouteError
from forebay.routes.sources import read_all_methods
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.process.memory import keep_freed_memory
from forebay_backends.settings import Settings, SettingsError
from forebay_gateway.admin.services import SERVICES as OVERSIGHT_SERVICES
from forebay_gateway.admin.services import AdminServices
from forebay_gateway.admission.admission import Admission
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.admission.queue_monitor import QueueMonitor
from forebay_gateway.plain.calls import PlainCalls
from forebay_gateway.rpc.incoming import RequestLimits
from forebay_gateway.rpc.policy import queue_wait_s, request_limit_bytes
from forebay_gateway.rpc.status import abort
from forebay_gateway.server.call_handler import CallHandler, CallLimits
from forebay_gateway.server.errors import cannot_listen
from forebay_gateway.server.health import SERVICE as HEALTH_SERVICE
from forebay_gateway.server.health import HealthService
from forebay_gateway.server.ledger_calls import LedgerCalls
from forebay_gateway.server.port import can_be_shared, kept_port
from forebay_gateway.server.reflection import SERVICES as REFLECTION_SERVICES
from forebay_gateway.server.reflection import reflection_handlers
from forebay_gateway.server.server_pool import ServerPool

# A message over our limit gets an error with details; one over the transport's
# gets gRPC's bare RESOURCE_EXHAUSTED, before it is held in memory.
_TRANSPORT_SLACK = 4
_CUT_GRACE_S = 1.0

_log = logging.getLogger(__name__)


def load_methods(sources: Sequence[str]) -> tuple[Method, ...]:
    """The routed methods of compiled protobuf modules and of descriptor sets.

    Raises RouteError with all that is wrong with them.
    """
    methods = read_all_methods(sources)
    own = (*OVERSIGHT_SERVICES, HEALTH_SERVICE, *REFLECTION_SERVICES)
    taken = sorted({method.service for method in methods} & set(own))
    if taken:
        raise RouteError([f"{name} is a service of the gateway's own; rename it" for name in taken])
    return methods


def needs_ledger(methods: Sequence[Method]) -> bool:
    """Whether any of the methods keeps records: a gateway of plain tasks alone has no ledger."""
    return any(not method.is_plain for method in methods)


@asynccontextmanager
async def running_gateway(settings: Settings, methods: Sequence[Method] = ()) -> AsyncIterator[str]:
    """Serves until the block is left, then drains; yields the address, HOST:PORT.

    Without methods, those of the settings' services are served.

    Order of the end: no new calls, and health says so; calls in flight get
    `drain_s`; what is left is cut, to go on elsewhere; then the server, and last
    the backends, which the rest needed.

    Raises SettingsError, RouteError or GatewayError where it can't start.
    """
    keep_freed_memory()
    methods = methods or load_methods(settings.services)
    with _port(settings) as listen:
        gateway = _Gateway(settings.of_one_process(), methods, listen)
        await gateway.health.say(False)
        async with asyncio.TaskGroup() as background:
            loops = [background.create_task(loop) for loop in gateway.loops()]
            await gateway.subscribed()
            await gateway.serving.start()
            keeping = background.create_task(gateway.serving.keep())
            try:
                yield gateway.serving.address
            finally:
                await gateway.drain(settings.drain_s)
                await cancel_all([keeping])
                await gateway.serving.stop(_CUT_GRACE_S)
                await gateway.join()
                await cancel_all(loops)
        await gateway.close()


def _port(settings: Settings) -> AbstractContextManager[str]:
    """Where to listen; kept for this gateway, unless the starter of several processes does."""
    if settings.processes > 1 or not can_be_shared(settings.listen):
        return nullcontext(settings.listen)
    return kept_port(settings.listen)


class _Gateway:
    """The parts of a gateway, and what they do together."""

    def __init__(self, settings: Settings, methods: Sequence[Method], listen: str) -> None:
        is_open = _is_loopback(listen)
        self._ledger_calls = (
            LedgerCalls(settings, methods, is_open=is_open) if needs_ledger(methods) else None
        )
        is_any_plain = any(method.is_plain for method in methods)
        self._plain = PlainCalls(settings) if is_any_plain else None
        gates, self._queue_monitor = _limits(settings, methods, self._ledger_calls, self._plain)
        self._admission = gates.admission
        call_handler = CallHandler(gates, _checks(settings), self._ledger_calls, self._plain)
        names = sorted({method.service for method in methods})
        admin = None if self._ledger_calls is None else self._ledger_calls.admin
        self.health = HealthService((*names, *(admin.services if admin else ())))
        self._answering = {"ledger": self._ledger_calls is None, "plain": self._plain is None}
        handlers = [
            *_handlers(methods, call_handler, names),
            *_handlers_of_our_own(methods, self.health, admin),
        ]
        self.serving = _serving(settings, handlers, listen)

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on as long as the gateway does."""
        if self._ledger_calls is not None:
            yield from self._ledger_calls.loops(
                lambda health: self._say_health("ledger", health.serving)
            )
        if self._plain is not None:
            yield from self._plain.loops(lambda answers: self._say_health("plain", answers))
        yield self._queue_monitor.look_after()

    async def subscribed(self) -> None:
        """Returns when the gateway hears of its calls, or after a while without a ledger."""
        if self._ledger_calls is not None:
            await self._ledger_calls.subscribed()
        if self._plain is not None:
            await self._plain.subscribed()
        if not _is_loopback(self.serving.address):
            _log.warning(
                "listening on %s, without authentication: trusted networks only",
                self.serving.address,
            )

    async def drain(self, grace_s: float) -> None:
        """Lets no call in, waits for those in flight, and cuts what is left."""
        self._admission.drain()
        await self.health.drain()
        await _drained(self._admission, grace_s)
        for calls in self._calls():
            calls.cut()

    async def join(self) -> None:
        """Returns when what was begun for calls that are over has ended."""
        for calls in self._calls():
            await calls.join()

    async def close(self) -> None:
        """Closes all connections."""
        for calls in self._calls():
            await calls.close()

    def _calls(self) -> Iterator[LedgerCalls | PlainCalls]:
        yield from (calls for calls in (self._ledger_calls, self._plain) if calls is not None)

    async def _say_health(self, part: str, answers: bool) -> None:
        self._answering[part] = answers
        await self.health.say(all(self._answering.values()))


def _checks(settings: Settings) -> dict[str, CheckFactory]:
    try:
        return load_checks(settings.checks)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _limits(
    settings: Settings,
    methods: Sequence[Method],
    ledger_calls: LedgerCalls | None,
    plain: PlainCalls | None,
) -> tuple[CallLimits, QueueMonitor]:
    """What calls pass, and what keeps it up to date."""
    queue_of_task = {method.route.task: method.route.queue for method in methods}
    queues = QueueLimits({method.route.queue for method in methods}, settings.max_queue_depth)
    gates = CallLimits(
        Admission(settings.max_calls, settings.max_held_bytes),
        queues,
        RequestLimits(
            settings.max_message_bytes,
            settings.first_request_s,
            lambda method: request_limit_bytes(method, settings),
        ),
        lambda method: queue_wait_s(method, settings),
    )
    brokers = [calls.broker for calls in (ledger_calls, plain) if calls is not None]
    workers = (lambda: ledger_calls.fleet.workers) if ledger_calls is not None else tuple
    return gates, QueueMonitor(queues, brokers[0], workers, queue_of_task)


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or address.startswith("unix:")


async def _drained(admission: Admission, grace_s: float) -> None:
    """Waits until no call is in flight, at most for the grace."""
    give_up = asyncio.get_running_loop().time() + grace_s
    if admission.accepted:
        _log.info("draining: %d calls in flight, %g s of grace", admission.accepted, grace_s)
    while admission.accepted and asyncio.get_running_loop().time() < give_up:  # noqa: ASYNC110
        await asyncio.sleep(0.02)  # admission is pure: it knows no event loop to wake


def _handlers(
    methods: Sequence[Method], call_handler: CallHandler, names: Sequence[str]
) -> Iterator[grpc.GenericRpcHandler]:
    """Of the routed methods of the services of these names."""
    for name in names:
        handlers = {
            method.path.rpartition("/")[2]: call_handler.handler(method)
            for method in methods
            if method.service == name
        }
        yield grpc.method_handlers_generic_handler(name, handlers)


def _handlers_of_our_own(
    methods: Sequence[Method], health: HealthService, admin: AdminServices | None
) -> Iterator[grpc.GenericRpcHandler]:
    """Of the gateway's services, and last of all that nobody serves."""
    told = (*(admin.services if admin else ()), HEALTH_SERVICE)
    yield from admin.handlers() if admin else ()
    yield health.handler()
    yield from reflection_handlers(methods, told)
    yield _Unknown()


def _serving(
    settings: Settings, handlers: Sequence[grpc.GenericRpcHandler], listen: str
) -> ServerPool:
    shared = can_be_shared(listen)
    options = _options(settings, shared=shared)

    def make() -> grpc.aio.Server:
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers(tuple(handlers))
        return server

    try:
        return ServerPool(make, listen, shared=shared)
    except RuntimeError as error:
        raise cannot_listen(listen) from error


def _options(settings: Settings, *, shared: bool) -> list[tuple[str, int]]:
    limit = settings.max_message_bytes * _TRANSPORT_SLACK
    return [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.so_reuseport", int(shared)),
        # Clients may ping from every 10 s on, calls or not; we ping after 30 s of
        # silence, so that a connection that died is noticed and its calls are left.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Connections are renewed, so that load moves to gateways that join; calls in
        # flight have an hour to end on the old one.
        ("grpc.max_connection_age_ms", 30 * 60_000),
        ("grpc.max_connection_age_grace_ms", 60 * 60_000),
    ]


class _Unknown(grpc.GenericRpcHandler):
    """Answers whatever no other handler serves."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method

        async def refuse(
            requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
        ) -> None:
            await abort(context, MethodUnknown(f"{path} is not served here"))

        behavior: Callable[..., object] = refuse
        return grpc.stream_stream_rpc_method_handler(behavior)
