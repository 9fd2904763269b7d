"""One gateway: built from settings and methods, served, and drained."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from forebay.checks import CheckFactory, load_checks
from forebay.routes import Method
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.aio.polling import poll_until
from forebay_backends.metrics.registry import Figures
from forebay_backends.process.descriptors import raise_limit
from forebay_backends.process.memory import keep_freed_memory
from forebay_backends.settings import Settings, SettingsError
from forebay_backends.settings.addresses import is_loopback
from forebay_backends.telemetry.tracing import TracingError, make_tracing
from forebay_gateway.admission.admission import Admission
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.admission.queue_monitor import QueueMonitor
from forebay_gateway.admission.read_room import ReadRoom
from forebay_gateway.fleet.worker_problems import Consumers
from forebay_gateway.fronts.choice import FrontMissing, make_front
from forebay_gateway.fronts.front import Front
from forebay_gateway.fronts.limits import front_limits, largest_request_bytes
from forebay_gateway.load_reports.utilization import Utilization
from forebay_gateway.metrics.event_loop_lag import watch_event_loop_lag
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.profiling.slow_callbacks import SlowCallbacks
from forebay_gateway.rpc.context import FindHandler
from forebay_gateway.rpc.incoming import RequestLimits
from forebay_gateway.rpc.message_reads import MessageReads
from forebay_gateway.rpc.policy import queue_wait_s, request_limit_bytes
from forebay_gateway.scaling.external_scaler import ExternalScaler
from forebay_gateway.scaling.queues import PlainQueues, Queues
from forebay_gateway.server.backend_urls import check_backend_urls
from forebay_gateway.server.call_handler import CallHandler, CallLimits
from forebay_gateway.server.connection_limit import max_connections, report_limit
from forebay_gateway.server.errors import GatewayError, address_in_use
from forebay_gateway.server.figures import expected_waits, plain_queue_figures
from forebay_gateway.server.handlers import find_handler, own_handlers
from forebay_gateway.server.health import HealthService
from forebay_gateway.server.lame_duck import LameDuck
from forebay_gateway.server.ledger_calls import LedgerCalls
from forebay_gateway.server.memory_guard import MemoryGuard, return_freed_memory
from forebay_gateway.server.methods import applications_of, load_methods, needs_ledger
from forebay_gateway.server.own_services import own_service_reads
from forebay_gateway.server.port import can_share_port, reserved_port
from forebay_gateway.server.rpc_meter import RpcMeter

if TYPE_CHECKING:
    from forebay_backends.telemetry.spans import Tracing
    from forebay_gateway.plain.calls import PlainCalls
    from forebay_gateway.tls.server_tls import ServerTls

_HAND_OVER_S = 0.02
_CANCEL_GRACE_S = 1.0
_FIRST_REQUESTS_S = 0.2

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

    Shutdown order: health reports NOT_SERVING; during the lame-duck time, if there is one, calls
    are still accepted; then the port closes and each connection gets a GOAWAY, so that clients
    and proxies start no further call on it; calls in flight get `drain_s`; the rest are
    aborted, so that clients resume them at another gateway; last the connections to the
    backends close, since all of the above uses them.

    Raises SettingsError, RouteError or GatewayError if the gateway can't start.
    """
    keep_freed_memory()
    raise_limit()
    methods = methods or load_methods(settings)
    await check_backend_urls(settings, methods)
    with _port(settings) as listen:
        gateway = _Gateway(settings.of_one_process(), methods, listen, process)
        async with gateway.admin_port(), asyncio.TaskGroup() as background:
            loops = [background.create_task(loop) for loop in gateway.loops()]
            await gateway.subscribed()
            await gateway.front.start()
            repairs = background.create_task(gateway.front.keep_serving())
            try:
                yield gateway.front.address
            finally:
                gateway.health.drain()
                if lame_duck is not None:
                    await lame_duck.wait()
                await cancel_all([repairs])
                going_away = background.create_task(
                    gateway.front.stop(settings.drain_s + _CANCEL_GRACE_S)
                )
                await gateway.drain(settings.drain_s)
                await gateway.front.stop(_CANCEL_GRACE_S)
                await going_away
                await gateway.join()
                await cancel_all(loops)
        await gateway.close()


def _port(settings: Settings) -> AbstractContextManager[str]:
    """Reserves the address, unless the parent of several gateway processes does."""
    if settings.processes > 1 or not can_share_port(settings.listen):
        return nullcontext(settings.listen)
    return reserved_port(settings.listen)


class _Gateway:
    def __init__(
        self, settings: Settings, methods: Sequence[Method], listen: str, process: str
    ) -> None:
        self._settings = settings
        self._metrics = GatewayMetrics(
            [method.name for method in methods],
            process,
            is_on=settings.admin_listen is not None,
            has_activity=is_loopback(listen),  # there the admin services are open
        )
        self._plain = _plain_calls(settings, methods)
        queues = _queue_limits(methods, settings.max_queue_depth)
        self._ledger_calls = (
            LedgerCalls(
                settings,
                methods,
                on_loopback=is_loopback(listen),
                plain_consumers_of=self._plain_consumers_of,
                metrics=self._metrics,
                expected_wait_s=lambda queue: queues[""][queue].wait_s,
            )
            if needs_ledger(methods)
            else None
        )
        self._queue_monitors = [
            _queue_monitor(name, limits, methods, self._ledger_calls, self._plain.get(name))
            for name, limits in queues.items()
        ]
        limits = _limits(settings, queues)
        self._admission = limits.admission
        self._metrics.read_process.append(partial(self._process_figures, queues))
        self._metrics.read_fleet += [
            partial(plain_queue_figures, plain, name) for name, plain in self._plain.items()
        ]
        self._memory_guard = MemoryGuard(limits.reads, settings.max_held_bytes)
        admin = None if self._ledger_calls is None else self._ledger_calls.admin
        self.health = HealthService(_parts(methods, () if admin is None else admin.services))
        self._main_is_up = {"ledger": self._ledger_calls is None, "plain": "" not in self._plain}
        self._tracing = _tracing()
        call_handler = CallHandler(
            limits,
            _checks(settings),
            self._ledger_calls,
            self._plain,
            self._metrics,
            self._tracing,
            settings.trace_trust,
            Utilization(self._admission) if settings.load_reports else None,
        )
        reads = _own_service_reads(settings)
        own = own_handlers(methods, self.health, admin, reads)
        measures = [RpcMeter(self._metrics.rpc_seconds).measured]
        find = find_handler(
            methods, call_handler, own, *(measures if self._metrics.counts_rpcs else [])
        )
        self._tls = _tls(settings)
        if self._tls is not None:
            self._metrics.read_process.append(self._tls.figures)
        self.front = _front(settings, find, listen, self._tls)
        scaler = ExternalScaler(self._scaled_queues(), queues)
        for_operators = own_handlers((), self.health, admin, reads, scaler)
        self._find_for_operators = find_handler((), call_handler, for_operators)

    @asynccontextmanager
    async def admin_port(self) -> AsyncIterator[None]:
        """Serves operators until the block is left, if there is an address for it."""
        if self._settings.admin_listen is None:
            yield
            return
        from forebay_gateway.server.admin_port import AdminServices, admin_port

        calls = self._ledger_calls
        services = AdminServices(
            self._metrics,
            self._is_ready,
            self._find_for_operators,
            process=None if calls is None else calls.admin.process,
        )
        async with admin_port(self._settings, services) as address:
            _log.info("metrics and probes on %s", address)
            yield

    async def _is_ready(self) -> bool:
        return self.health.is_serving

    def _process_figures(self, queues: Mapping[str, QueueLimits]) -> Figures:
        return {
            "forebay_held_bytes": {(): self._admission.bytes.held},
            **expected_waits(queues),
        }

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """The coroutines that run as long as the gateway does."""
        if self._ledger_calls is not None:
            yield from self._ledger_calls.loops(partial(self._set_main, "ledger"))
        for name, plain in self._plain.items():
            on_health = partial(self.health.set_up, name)
            yield from plain.loops(on_health if name else partial(self._set_main, "plain"))
        yield from (monitor.run() for monitor in self._queue_monitors)
        if self._metrics.is_on:
            yield watch_event_loop_lag(self._metrics.event_loop_lag)
        yield self._memory_guard.watch()
        yield return_freed_memory()
        yield report_limit()
        if self._tls is not None:
            yield self._tls.files.watch()
        yield SlowCallbacks(self._metrics.slow_callback).watch()

    async def subscribed(self) -> None:
        """Waits for the subscriptions to call events; gives up on a missing backend."""
        await asyncio.gather(*(calls.subscribed() for calls in self._calls()))
        if not is_loopback(self.front.address):
            _log.warning(
                "listening on %s, without authentication: trusted networks only",
                self.front.address,
            )

    async def drain(self, grace_s: float) -> None:
        """Waits for calls in flight, and aborts the rest."""
        await asyncio.sleep(_HAND_OVER_S)  # until then gRPC may hand over calls it has accepted
        await _arrived(self._admission)
        self._admission.drain()
        await _drained(self._admission, grace_s)
        for calls in self._calls():
            calls.abort_remaining()

    async def join(self) -> None:
        """Waits for the background work of calls that are over."""
        await asyncio.gather(*(calls.join() for calls in self._calls()))

    async def close(self) -> None:
        await asyncio.gather(*(calls.close() for calls in self._calls()))
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.flush)

    def _scaled_queues(self) -> dict[str, Queues]:
        """By application, as the limits of queues are."""
        plain = {name: PlainQueues(calls) for name, calls in self._plain.items()}
        ours = self._ledger_calls
        return {**plain, **({} if ours is None else {"": ours.queues})}

    def _calls(self) -> Iterator[LedgerCalls | PlainCalls]:
        if self._ledger_calls is not None:
            yield self._ledger_calls
        yield from self._plain.values()

    def _plain_consumers_of(self, method: Method) -> Consumers:
        return self._plain[method.application].workers.consumers_of(method)

    async def _set_main(self, backend: str, is_up: bool) -> None:
        self._main_is_up[backend] = is_up
        await self.health.set_up("", all(self._main_is_up.values()))


def _plain_calls(settings: Settings, methods: Sequence[Method]) -> dict[str, PlainCalls]:
    """By application."""
    applications = applications_of(methods)
    if not applications:
        return {}
    # Celery takes 10 MB of memory, which only plain tasks need.
    from forebay_gateway.plain.calls import PlainCalls

    return {
        name: PlainCalls(settings, settings.application(name), methods) for name in applications
    }


def _checks(settings: Settings) -> dict[str, CheckFactory]:
    try:
        return load_checks(settings.checks)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _tracing() -> Tracing | None:
    try:
        return make_tracing("forebay-gateway")
    except TracingError as error:
        raise SettingsError(str(error)) from error


def _parts(methods: Sequence[Method], admin_services: Sequence[str]) -> dict[str, set[str]]:
    """The applications that each service needs; "" stands for the ledger and the main broker."""
    parts: dict[str, set[str]] = {service: {""} for service in admin_services}
    for method in methods:
        parts.setdefault(method.service, set()).add(method.application)
    return parts


def _queue_limits(methods: Sequence[Method], max_depth: int) -> dict[str, QueueLimits]:
    """By application, since each has its own broker."""
    queues: dict[str, set[str]] = {}
    for method in methods:
        queues.setdefault(method.application, set()).add(method.route.queue)
    return {name: QueueLimits(names, max_depth) for name, names in queues.items()}


def _limits(settings: Settings, queues: Mapping[str, QueueLimits]) -> CallLimits:
    admission = Admission(settings.max_calls, settings.max_held_bytes)
    room = ReadRoom(admission.bytes, largest_request_bytes(settings.max_message_bytes))
    return CallLimits(
        admission,
        MessageReads(room, admission.full_of_bytes, settings.first_request_s),
        queues,
        RequestLimits(
            settings.max_message_bytes,
            settings.first_request_s,
            lambda method: request_limit_bytes(method, settings),
        ),
        lambda method: queue_wait_s(method, settings),
    )


def _own_service_reads(settings: Settings) -> MessageReads:
    message_bytes = largest_request_bytes(settings.max_message_bytes)
    return own_service_reads(message_bytes, settings.first_request_s)


def _queue_monitor(
    application: str,
    queues: QueueLimits,
    methods: Sequence[Method],
    ledger_calls: LedgerCalls | None,
    plain: PlainCalls | None,
) -> QueueMonitor:
    """Watches the queues of one broker: one that does not answer delays no samples of others."""
    queue_of_task = {
        method.route.task: method.route.queue
        for method in methods
        if method.application == application
    }
    ours = None if application else ledger_calls  # workers of other applications don't report
    brokers = [calls.broker for calls in (ours, plain) if calls is not None]
    workers = (lambda: ours.fleet.workers) if ours is not None else tuple
    return QueueMonitor(queues, brokers[0], workers, queue_of_task)


async def _arrived(admission: Admission) -> None:
    """Waits for the first requests of calls that have begun, but not for silent callers."""
    await poll_until(lambda: admission.calls.held <= admission.accepted, _FIRST_REQUESTS_S)


async def _drained(admission: Admission, grace_s: float) -> None:
    """Waits until no call is in flight, at most for the grace."""
    if admission.accepted:
        _log.info("draining: %d calls in flight, %g s of grace", admission.accepted, grace_s)
    await poll_until(lambda: not admission.accepted, grace_s)


def _tls(settings: Settings) -> ServerTls | None:
    """What the port shows to callers; None: plain text."""
    if settings.tls is None:
        return None
    # Cryptography takes 10 MB of memory, which plain text does not need.
    from forebay_gateway.tls.server_tls import ServerTls

    try:
        return ServerTls(settings.tls)
    except ValueError as error:
        raise SettingsError(f"tls: {error}") from error


def _front(settings: Settings, find: FindHandler, listen: str, tls: ServerTls | None) -> Front:
    limits = front_limits(settings.max_message_bytes, max_connections(), settings.max_calls)
    try:
        return make_front(
            settings.front, find, listen, limits, reuse_port=can_share_port(listen), tls=tls
        )
    except FrontMissing as error:
        raise GatewayError(str(error)) from error
    except (OSError, RuntimeError) as error:
        raise address_in_use(listen) from error
