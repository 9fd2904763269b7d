"""A gateway, put together and run."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from ipaddress import ip_address
from typing import Any

import grpc

from forebay.checks import CheckFactory, load_checks
from forebay.errors import MethodUnknown
from forebay.routes import Method, RouteError
from forebay.sources import read_all_methods
from forebay_gateway.admission import Admission
from forebay_gateway.durable import DurableCalls
from forebay_gateway.ephemeral import EphemeralCalls
from forebay_gateway.fleet import Fleet, Health
from forebay_gateway.funnel import Funnel, Gates
from forebay_gateway.health import SERVICE as HEALTH_SERVICE
from forebay_gateway.health import HealthService
from forebay_gateway.ids import uuid7
from forebay_gateway.incoming import Bounds
from forebay_gateway.oversight import SERVICES as OVERSIGHT_SERVICES
from forebay_gateway.oversight import Oversight
from forebay_gateway.policy import queue_wait_s, request_limit_bytes
from forebay_gateway.queue_watch import QueueWatch
from forebay_gateway.queues import Queues
from forebay_gateway.reflection import SERVICES as REFLECTION_SERVICES
from forebay_gateway.reflection import reflection_handlers
from forebay_gateway.route_watch import watch_routes
from forebay_gateway.serving import Serving
from forebay_gateway.status import abort
from forebay_gateway.watches import Watches
from forebay_ledger.cancelling import cancel_all
from forebay_ledger.connection import Ledger
from forebay_ledger.dispatch import Dispatcher, dispatcher
from forebay_ledger.keys import gateway_channel
from forebay_ledger.memory import keep_freed_memory
from forebay_ledger.settings import Settings, SettingsError

# A message over our limit gets an error with details; one over the transport's
# gets gRPC's bare RESOURCE_EXHAUSTED, before it is held in memory.
_TRANSPORT_SLACK = 4
_FIRST_SUBSCRIPTION_S = 5.0
_CUT_GRACE_S = 1.0

_log = logging.getLogger(__name__)


class GatewayError(RuntimeError):
    """The gateway can't start; the message says why and what to do."""


def cannot_listen(listen: str) -> GatewayError:
    """The error for an address that can't be had."""
    return GatewayError(
        f"can't listen on {listen}: is another gateway there? "
        "Choose another address with --listen HOST:PORT"
    )


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
    gateway = _Gateway(settings.of_one_process(), methods)
    await gateway.health.say(False)
    async with asyncio.TaskGroup() as background:
        loops = [background.create_task(loop) for loop in gateway.loops()]
        await gateway.subscribed()
        await gateway.server.start()
        keeping = background.create_task(gateway.server.keep())
        try:
            yield gateway.server.address
        finally:
            await gateway.drain(settings.drain_s)
            await cancel_all([keeping])
            await gateway.server.stop(_CUT_GRACE_S)
            await gateway.durable.settled()
            await cancel_all(loops)
    await gateway.broker.close()
    await gateway.ledger.close()


class _Gateway:
    """The parts of a gateway, and what they do together."""

    def __init__(self, settings: Settings, methods: Sequence[Method]) -> None:
        checks = _checks(settings)
        backends = settings.backends()
        self.ledger = Ledger(backends.ledger_url)
        self.broker = dispatcher(backends, self.ledger)
        queues = {method.route.queue for method in methods}
        self._fleet = Fleet(self.ledger, self.broker, queues, settings.retention_bytes)
        name = f"{socket.gethostname()}.{os.getpid()}.{uuid7()}"
        watches = self._watches = Watches(self.ledger, backends.ledger_url, gateway_channel(name))
        self.durable = DurableCalls(settings, self.ledger, self.broker, watches, self._fleet.slots)
        self._ephemeral = EphemeralCalls(
            settings, self.ledger, self.broker, self._fleet, watches.channel
        )
        watches.on_reply = self._ephemeral.on_reply
        watches.on_holding = self._ephemeral.on_holding
        watches.on_lost = self._ephemeral.on_lost
        gates, self._queue_watch = _gates(settings, methods, self.broker, self._fleet)
        self._admission = gates.admission
        funnel = Funnel(gates, checks, self.durable, self._ephemeral)
        names = sorted({method.service for method in methods})
        self._oversight = Oversight(
            self.ledger,
            self.broker,
            self._fleet,
            watches,
            methods,
            is_open=_is_loopback(settings.listen),
        )
        self.health = HealthService((*names, *self._oversight.services))
        self._methods = methods
        self.server = _serving(settings, methods, funnel, names, self.health, self._oversight)

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on as long as the gateway does."""
        yield self._watches.listen()
        yield self._watches.look_after()
        yield self._ephemeral.look_after()
        yield self._fleet.watch_over(self._say_health)
        yield self._fleet.reap()
        yield self._queue_watch.look_after()
        yield self._oversight.watch_rates()
        yield watch_routes(self._methods, self._fleet, version("forebay"))

    async def subscribed(self) -> None:
        """Returns when the gateway hears of its calls, or after a while without a ledger."""
        try:
            async with asyncio.timeout(_FIRST_SUBSCRIPTION_S):
                await self._watches.subscribed()
        except TimeoutError:
            _log.warning("the ledger does not answer; serving, and trying on")
        if not _is_loopback(self.server.address):
            _log.warning(
                "listening on %s, without authentication: trusted networks only",
                self.server.address,
            )

    async def drain(self, grace_s: float) -> None:
        """Lets no call in, waits for those in flight, and cuts what is left."""
        self._admission.drain()
        await self.health.drain()
        await _drained(self._admission, grace_s)
        self._oversight.cut()
        self.durable.cut()
        self._ephemeral.cut()

    async def _say_health(self, state: Health) -> None:
        await self.health.say(state.serving)


def _checks(settings: Settings) -> dict[str, CheckFactory]:
    try:
        return load_checks(settings.checks)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _gates(
    settings: Settings, methods: Sequence[Method], broker: Dispatcher, fleet: Fleet
) -> tuple[Gates, QueueWatch]:
    """What calls pass, and what keeps it up to date."""
    queue_of_task = {method.route.task: method.route.queue for method in methods}
    queues = Queues(set(queue_of_task.values()), settings.max_queue_depth)
    gates = Gates(
        Admission(settings.max_calls, settings.max_held_bytes),
        queues,
        Bounds(
            settings.max_message_bytes,
            settings.first_request_s,
            lambda method: request_limit_bytes(method, settings),
        ),
        lambda method: queue_wait_s(method, settings),
    )
    return gates, QueueWatch(queues, broker, lambda: fleet.workers, queue_of_task)


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


def _serving(
    settings: Settings,
    methods: Sequence[Method],
    funnel: Funnel,
    names: Sequence[str],
    health: HealthService,
    oversight: Oversight,
) -> Serving:
    told = (*oversight.services, HEALTH_SERVICE)

    reflection = reflection_handlers(methods, told)

    def make() -> grpc.aio.Server:
        server = grpc.aio.server(options=_options(settings))
        for name in names:
            handlers = {
                method.path.rpartition("/")[2]: funnel.handler(method)
                for method in methods
                if method.service == name
            }
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        server.add_generic_rpc_handlers(
            (*oversight.handlers(), health.handler(), *reflection, _Unknown())
        )
        return server

    try:
        return Serving(make, settings.listen)
    except RuntimeError as error:
        raise cannot_listen(settings.listen) from error


def _options(settings: Settings) -> list[tuple[str, int]]:
    limit = settings.max_message_bytes * _TRANSPORT_SLACK
    return [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.so_reuseport", int(settings.processes > 1)),
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
