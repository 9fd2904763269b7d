"""One gateway: built from settings and methods, served, and drained."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from forebay.routes import Method
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.aio.polling import poll_until
from forebay_backends.metrics.registry import Figures
from forebay_backends.process.descriptors import raise_limit
from forebay_backends.process.memory import keep_freed_memory
from forebay_backends.settings import Settings
from forebay_backends.settings.addresses import is_loopback
from forebay_gateway.admin.call_access import CallAccess
from forebay_gateway.admin.descriptions import Descriptions
from forebay_gateway.admin.who_am_i import WhoAmI
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.audit.audit_log import AuditLog, open_audit
from forebay_gateway.fleet.worker_problems import Consumers
from forebay_gateway.fronts.front import NO_FRONT, Front
from forebay_gateway.guard.guard import Denial, Guard
from forebay_gateway.identity.requirements import everything
from forebay_gateway.identity.tenant_access import unless_known
from forebay_gateway.load_reports.utilization import Utilization
from forebay_gateway.metrics.event_loop_lag import watch_event_loop_lag
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.profiling.slow_callbacks import SlowCallbacks
from forebay_gateway.quotas.tenant_quotas import TenantQuotas
from forebay_gateway.rpc.context import Context
from forebay_gateway.scaling.external_scaler import ExternalScaler
from forebay_gateway.scaling.queues import PlainQueues, Queues
from forebay_gateway.server.backend_urls import check_backend_urls
from forebay_gateway.server.call_handler import CallHandler
from forebay_gateway.server.connection_limit import report_limit
from forebay_gateway.server.draining import drained
from forebay_gateway.server.figures import expected_waits, plain_queue_figures
from forebay_gateway.server.handlers import find_handler, own_handlers
from forebay_gateway.server.health import HealthService
from forebay_gateway.server.identity import Identity, make_identity, warn_if_insecure
from forebay_gateway.server.key_watch import watch_keys
from forebay_gateway.server.lame_duck import LameDuck
from forebay_gateway.server.ledger_calls import LedgerCalls
from forebay_gateway.server.limits import (
    limits_of_calls,
    limits_of_queues,
    monitor_of_queues,
    reads_of_own_services,
)
from forebay_gateway.server.memory_guard import MemoryGuard, return_freed_memory
from forebay_gateway.server.methods import load_methods, needs_ledger
from forebay_gateway.server.parts import (
    checks,
    front,
    parts_of_services,
    plain_calls,
    server_tls,
    siblings_of,
    tracing,
)
from forebay_gateway.server.port import can_share_port, reserved_port
from forebay_gateway.server.rpc_meter import RpcMeter
from forebay_gateway.server.security_problems import security_problems

if TYPE_CHECKING:
    from forebay_gateway.plain.calls import PlainCalls
    from forebay_gateway.web.exchange import App
    from forebay_gateway.web.listener import WebListener

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
    """As `running_gateway`, but listens nowhere for callers: yields the web front's application."""
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
) -> AsyncIterator[_Gateway]:
    keep_freed_memory()
    raise_limit()
    methods = methods or load_methods(settings, serves_http=None if listens else True)
    identity = make_identity(settings, methods)
    await check_backend_urls(settings, methods)
    port = _port(settings) if listens else nullcontext(None)
    with open_audit(settings) as audit, port as listen:
        gateway = _Gateway(settings.of_one_process(), methods, listen, process, identity, audit)
        async with gateway.admin_port(), asyncio.TaskGroup() as background:
            loops = [background.create_task(loop) for loop in gateway.loops()]
            await gateway.connected()
            await gateway.start()
            repairs = background.create_task(gateway.front.keep_serving())
            try:
                yield gateway
            finally:
                gateway.health.drain()
                if lame_duck is not None:
                    await lame_duck.wait()
                await cancel_all([repairs])
                going_away = background.create_task(
                    gateway.stop(settings.drain_s + _CANCEL_GRACE_S)
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
        self,
        settings: Settings,
        methods: Sequence[Method],
        listen: str | None,
        process: str,
        identity: Identity | None,
        audit: AuditLog,
    ) -> None:
        """Without `listen`, its handlers are served by another application (`application`)."""
        self._settings = settings
        self._audit = audit
        self._identity = identity
        is_local = listen is not None and all(
            is_loopback(address) for address in (listen, settings.web_listen or listen)
        )
        admin_is_open = identity is not None or is_local
        may = unless_known if identity is None else identity.may
        self._siblings = siblings_of(settings)
        self._metrics = GatewayMetrics(
            [method.name for method in methods],
            process,
            is_on=settings.admin_listen is not None,
            has_activity=admin_is_open,
            tenants=settings.tenants.keys() - {"*"},
        )
        self._plain = plain_calls(settings, methods)
        queues = limits_of_queues(methods, settings.max_queue_depth)
        self._ledger_calls = (
            LedgerCalls(
                settings,
                methods,
                admin_is_open=admin_is_open,
                plain_consumers_of=self._plain_consumers_of,
                metrics=self._metrics,
                expected_wait_s=lambda queue: queues[""][queue].wait_s,
                access=CallAccess(may, audit),
                siblings=self._siblings,
            )
            if needs_ledger(methods)
            else None
        )
        self._queue_monitors = [
            monitor_of_queues(name, limits, methods, self._ledger_calls, self._plain.get(name))
            for name, limits in queues.items()
        ]
        limits = limits_of_calls(settings, queues)
        self._admission = limits.admission
        self._metrics.read_process.append(partial(self._process_figures, queues))
        self._metrics.read_fleet += [
            partial(plain_queue_figures, plain, name) for name, plain in self._plain.items()
        ]
        self._quotas = self._tenant_quotas()
        self._memory_guard = MemoryGuard(limits.reads, settings.max_held_bytes)
        admin = None if self._ledger_calls is None else self._ledger_calls.admin
        self.health = HealthService(
            parts_of_services(methods, () if admin is None else admin.services)
        )
        self._main_is_up = {
            "ledger": self._ledger_calls is None,
            "plain": "" not in self._plain,
            "identity": identity is None or identity.is_ready,
        }
        self._tracing = tracing()
        call_handler = CallHandler(
            limits,
            checks(settings),
            self._ledger_calls,
            self._plain,
            self._metrics,
            self._tracing,
            settings.trace_trust,
            Utilization(self._admission) if settings.load_reports else None,
            may,
            self._quotas,
        )
        reads = reads_of_own_services(settings)
        guard = self._guard(methods)
        may_call = everything if guard is None else guard.may_call
        who_am_i = WhoAmI(methods, None if identity is None else identity.roles, may_call)
        descriptions = Descriptions(methods, may_call)
        own = own_handlers(methods, self.health, admin, who_am_i, descriptions, reads, may_call)
        if settings.web_listen is not None or listen is None:
            from forebay_gateway.server.web_surface import openapi_handlers

            own |= openapi_handlers(settings, methods, own, may_call)
        meter = RpcMeter(self._metrics.rpc_seconds)
        wraps = [
            *([] if guard is None else [guard.guarded]),
            *([meter.measured] if self._metrics.counts_rpcs else []),
        ]
        find = find_handler(methods, call_handler, own, wraps)
        self._tls = server_tls(settings)
        if self._tls is not None:
            self._metrics.read_process.append(self._tls.figures)
        if identity is not None:
            self._metrics.read_process.append(identity.figures)
        if audit.is_on:
            self._metrics.read_process.append(audit.figures)
        if admin is not None:
            admin.problems.sources.append(partial(security_problems, self._tls, identity, audit))
        self._served = methods, own, find
        self.front: Front = NO_FRONT if listen is None else front(settings, find, listen, self._tls)
        self._web = None if listen is None else self._web_listener()
        scaler = ExternalScaler(self._scaled_queues(), queues)
        guard = self._guard((), for_operators=True)
        may_call = everything if guard is None else guard.may_call
        for_operators = own_handlers(
            (), self.health, admin, who_am_i, descriptions, reads, may_call, scaler
        )
        self._find_for_operators = find_handler(
            (), call_handler, for_operators, [] if guard is None else [guard.guarded]
        )
        self._methods = methods
        guard = self._guard(methods, for_operators=True)
        wraps = [*([] if guard is None else [guard.guarded]), meter.measured]
        self._find_for_page = find_handler(methods, call_handler, for_operators, wraps)

    def _guard(self, methods: Sequence[Method], *, for_operators: bool = False) -> Guard | None:
        """The guard of a port; None where authentication is off."""
        if self._identity is None:
            return None
        return self._identity.guard(methods, self._on_denied, for_operators=for_operators)

    def _on_denied(self, context: Context, denial: Denial) -> None:
        self._audit.denied(
            *(context, denial.error),
            path=denial.path,
            permission=denial.permission,
            principal=denial.principal,
        )

    @asynccontextmanager
    async def admin_port(self) -> AsyncIterator[None]:
        """Serves operators until the block is left, if there is an address for it."""
        if self._settings.admin_listen is None:
            yield
            return
        from forebay_gateway.server.admin_port import AdminServices, admin_port

        services = AdminServices(
            self._metrics,
            self._is_ready,
            self._find_for_operators,
            with_page=self._with_page,
            siblings=self._siblings,
        )
        async with admin_port(self._settings, services) as address:
            _log.info("metrics and probes on %s", address)
            yield

    def application(self) -> App:
        """All that the gateway serves, for HTTP."""
        from forebay_gateway.server.web import web_application

        return web_application(self._settings, *self._served)

    def _web_listener(self) -> WebListener | None:
        """None if there is no address for it."""
        if self._settings.web_listen is None:
            return None
        from forebay_gateway.server.web import web_listener

        return web_listener(self._settings, self.application(), self._tls)

    async def start(self) -> None:
        """Accepts callers from now on."""
        await self.front.start()
        if self._web is not None:
            await self._web.start()
            _log.info("web front on %s", self._web.address)

    async def stop(self, grace_s: float) -> None:
        """Closes the ports, and gives RPCs in flight the grace."""
        web = () if self._web is None else (self._web.stop(),)
        await asyncio.gather(self.front.stop(grace_s), *web)

    def _with_page(self, app: App) -> App:
        """The app of the operators' port, with the page if the settings want it."""
        settings = self._settings
        if settings.page == "off":
            return app
        from forebay_gateway.server.page import with_operators_page

        return with_operators_page(
            app, settings, self._methods, self._find_for_page, lambda: self.front.address
        )

    def _tenant_quotas(self) -> TenantQuotas | None:
        """None where nothing tells one tenant from another."""
        settings, calls = self._settings, self._ledger_calls
        if not settings.auth.is_on and not settings.tenants:
            return None
        if calls is None:
            quotas = TenantQuotas(settings.tenants, "", None, settings.processes)
        else:
            quotas = TenantQuotas(settings.tenants, calls.channel, calls.run_small)
            calls.listen(quotas)
        self._metrics.read_process.append(quotas.figures)
        return quotas

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
        if self._quotas is not None:
            yield self._quotas.run()
        if self._metrics.is_on:
            yield watch_event_loop_lag(self._metrics.event_loop_lag)
        yield self._memory_guard.watch()
        yield return_freed_memory()
        yield report_limit()
        if self._tls is not None:
            yield self._tls.files.watch()
        if self._identity is not None:
            yield from self._identity.loops(partial(self._set_main, "identity"))
        if self._audit.is_on:
            yield self._audit.run()
            yield watch_keys(self._audit, self._identity, self._tls)
        yield SlowCallbacks(self._metrics.slow_callback).watch()

    async def connected(self) -> None:
        """Waits for the subscriptions to call events and for SERVING; not for a missing backend."""
        await asyncio.gather(
            *(calls.subscribed() for calls in self._calls()),
            poll_until(lambda: self.health.is_serving, _FIRST_HEALTH_S),
        )
        warn_if_insecure(self._settings, self.front.address)
        if self._web is not None:
            warn_if_insecure(self._settings, self._web.address)
        if self._ledger_calls is not None:
            self._ledger_calls.admin.warn_if_closed()

    async def drain(self, grace_s: float) -> None:
        """Waits for calls in flight, and aborts the rest."""
        await drained(self._admission, grace_s)
        for calls in self._calls():
            calls.abort_remaining()

    async def join(self) -> None:
        """Waits for the background work of calls that are over."""
        await asyncio.gather(*(calls.join() for calls in self._calls()))
        if self._quotas is not None:
            await self._quotas.join()

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
