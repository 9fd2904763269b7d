"""Serves the calls of every routed method: metadata, deadline, checks, admission, then the call.

After admission, `durable/`, `ephemeral/` or `plain/` serves the call, by its kind. The gateway
parses the requests of durable and ephemeral calls, to check them, and never their responses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Protocol

import grpc

from forebay.checks import CheckFactory, NoCheck
from forebay.deadline import Deadline
from forebay.errors import (
    BackendUnavailable,
    Cancelled,
    DeadlineExceeded,
    FieldViolation,
    ForebayError,
    InvalidRequest,
    QuotaExceeded,
)
from forebay.metadata import CALL_ID, RESUME_FROM
from forebay.routes import HIGHEST_PRIORITY, Method
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.calls import Start
from forebay_backends.telemetry.call_labels import (
    CallLabels,
    current_call,
    label_task,
    name_trace,
    stored_traceparent,
)
from forebay_gateway.admission.admission import Admission, Permit
from forebay_gateway.admission.caller_identity import caller_of
from forebay_gateway.admission.queue_limits import QueueLimits, QueueRequest
from forebay_gateway.admission.queue_load import QueueLoad
from forebay_gateway.identity.permissions import QUEUES
from forebay_gateway.identity.principal import Principal
from forebay_gateway.identity.tenant_access import May, unless_known
from forebay_gateway.load_reports.reporting import reporting
from forebay_gateway.load_reports.utilization import Utilization
from forebay_gateway.metrics.call_meter import CallMeter
from forebay_gateway.metrics.cancelled_rpcs import is_at_deadline
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.quotas.tenant_quotas import TenantQuotas
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.rpc.incoming import (
    IncomingCall,
    RequestLimits,
    RequestStream,
    receive,
    with_cache_key,
)
from forebay_gateway.rpc.message_reads import MessageReads
from forebay_gateway.rpc.options import CallOptions, read_call_options
from forebay_gateway.rpc.outcomes import gateway_fault
from forebay_gateway.rpc.start_time import check_delay, check_start
from forebay_gateway.rpc.status import abort
from forebay_gateway.rpc.traced import Recorded, RecordedContext, Trust, start_span
from forebay_gateway.server.ledger_calls import LedgerCalls

if TYPE_CHECKING:
    from forebay_backends.telemetry.rpc_span import RpcSpan
    from forebay_backends.telemetry.spans import Tracing
    from forebay_gateway.plain.calls import PlainCalls

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallLimits:
    """The limits of a gateway, of its queues, and of a call's requests."""

    admission: Admission
    reads: MessageReads
    queues: Mapping[str, QueueLimits]
    """The limits by application, since brokers may have queues of one name; "" is the main
    broker."""
    requests: RequestLimits
    queue_wait_s: Callable[[Method], float]
    max_eta_s: Callable[[str], float]
    """Returns the longest delay of an application's plain tasks."""


class _Calls(Protocol):
    async def serve(self, incoming: IncomingCall, context: Context) -> bytes | None: ...


class CallHandler:
    """One per gateway. `ledger_calls` is None if no method needs it; `plain` is by application.

    `tracing` is None if the gateway traces nothing; `trust` says whose sampling it follows. With
    `utilization`, calls end with load reports. `may` says who is told figures of queues. `quotas`
    is None if there are no tenants.
    """

    def __init__(
        self,
        limits: CallLimits,
        checks: dict[str, CheckFactory],
        ledger_calls: LedgerCalls | None,
        plain: Mapping[str, PlainCalls],
        metrics: GatewayMetrics,
        tracing: Tracing | None = None,
        trust: Trust = "authenticated",
        utilization: Utilization | None = None,
        may: May = unless_known,
        quotas: TenantQuotas | None = None,
    ) -> None:
        self._may = may
        self._metrics = metrics
        self._limits = limits
        self._checks = checks
        self._ledger_calls = ledger_calls
        self._plain = plain
        self._tracing = tracing
        self._trust = trust
        self._utilization = utilization
        self._quotas = quotas

    def handler(self, method: Method) -> Handler:
        """Serves the method's RPCs."""

        async def serve(context: Context) -> bytes | None:
            labels = CallLabels(method.name, tenant=context.principal.tenant)
            label_task(labels)
            if self._tracing is None:
                return await self._serve(method, context, None)
            span = start_span(self._tracing, self._trust, labels, context)
            if not span.is_recording:
                return await self._serve(method, context, span)
            with Recorded(span, labels, context):
                recorded = RecordedContext(context, span) if method.server_streaming else context
                return await self._serve(method, recorded, span)

        handler = Handler(serve, method.server_streaming)
        return handler if self._utilization is None else reporting(handler, self._utilization)

    async def _serve(self, method: Method, context: Context, span: RpcSpan | None) -> bytes | None:
        meter = CallMeter(
            self._metrics.method(method.name),
            context.time_remaining,
            self._metrics.tenants.ended(context.principal.tenant),
        )
        tenant = context.principal.tenant
        caller = caller_of(context.peer(), tenant)
        try:
            with meter, self._limits.admission.admit(caller) as permit:
                if not tenant or self._quotas is None:
                    return await self._serve_admitted(method, context, permit, meter, span)
                with self._quotas.counted(tenant, permit) as wait:
                    if wait is not None:
                        await wait
                    return await self._serve_admitted(method, context, permit, meter, span)
        except ForebayError as error:
            self._failed(method, context, error)
            await abort(context, error)
        except grpc.aio.AbortError as error:
            if isinstance(error.__cause__, ForebayError):  # rpc/status.py sets it
                self._failed(method, context, error.__cause__)
            raise
        except asyncio.CancelledError:
            if is_at_deadline(context.time_remaining()):
                self._failed(method, context, DeadlineExceeded("the RPC's deadline passed"))
            raise
        except Exception:
            _log.exception("%s failed in the gateway", method.name)
            fault = gateway_fault()
            self._failed(method, context, fault)
            await abort(context, fault)

    def _failed(self, method: Method, context: Context, error: ForebayError) -> None:
        """Keeps the error as a sample, for operators."""
        if self._ledger_calls is None or isinstance(error, Cancelled):
            return
        has_record = not method.is_plain and (
            not method.route.ephemeral
            or any(key == CALL_ID for key, _ in context.invocation_metadata() or ())
        )
        self._ledger_calls.admin.errors.failed(
            context.principal.tenant,
            method.name,
            error,
            current_call().call_id if has_record else "",
        )

    async def _serve_admitted(
        self,
        method: Method,
        context: Context,
        permit: Permit,
        meter: CallMeter,
        span: RpcSpan | None,
    ) -> bytes | None:
        incoming = await self._receive(method, context, permit, meter, span)
        calls = self._calls_of(incoming)
        if incoming.is_attach_only:
            return await calls.serve(incoming, context)
        wait = None if permit.tenant is None else permit.tenant.count_new_call()
        if wait is not None:
            await self._waited(wait, incoming, context.principal)
        if incoming.options.start is None:
            await self._check_queue(incoming, context.principal)
        else:
            await self._check_delay(incoming, incoming.options.start, context.principal)
        if self._ledger_calls is not None and not method.is_plain:
            await self._ledger_calls.ready()
        if span is not None and not incoming.ephemeral:
            span.publish(method.route.queue, incoming.options.forwarded_metadata)
        with self._counted_in_queue(incoming) as uncount:
            if incoming.cache_key is not None:
                incoming = replace(incoming, on_joined=uncount)
            return await calls.serve(incoming, context)

    def _calls_of(self, incoming: IncomingCall) -> _Calls:
        if incoming.method.is_plain:
            calls: _Calls | None = self._plain.get(incoming.method.application)
        elif self._ledger_calls is None:
            calls = None
        elif incoming.method.operation is not None:
            calls = self._ledger_calls.operations
        elif incoming.ephemeral:
            calls = self._ledger_calls.ephemeral
        else:
            calls = self._ledger_calls.durable
        if calls is None:
            raise RuntimeError(f"nothing was set up for {incoming.method.name}")
        return calls

    async def _receive(
        self,
        method: Method,
        context: Context,
        permit: Permit,
        meter: CallMeter,
        span: RpcSpan | None,
    ) -> IncomingCall:
        tenant = permit.tenant
        cap = HIGHEST_PRIORITY if tenant is None else tenant.max_priority
        given = context.invocation_metadata() or ()
        options = read_call_options(given, method.route, cap, forwards_trace=span is None)
        if span is None:
            name_trace(stored_traceparent(options.forwarded_metadata))
        _check_options(method, options)
        if options.start is not None:
            check_start(method, options.call_id, options.start, has_tenant=tenant is not None)
        deadline = Deadline.after(context.time_remaining())
        if deadline.passed:
            raise DeadlineExceeded("the deadline passed before the call came in")
        check = self._checks.get(method.name, NoCheck)()
        requests = RequestStream(context, self._limits.reads, permit.caller, permit.take, tenant)
        incoming = await receive(
            *(method, options, deadline, requests, check, permit, self._limits.requests),
            *(meter, span),
        )
        if tenant is not None and tenant.unchecked:
            await tenant.check_bytes()
        if method.route.cache is None:
            return incoming
        return await with_cache_key(incoming, context.principal.tenant, self._limits.requests)

    async def _check_queue(self, incoming: IncomingCall, principal: Principal) -> None:
        """Raises CapacityError if the queue takes no further call.

        The ledger is asked only for calls that would be refused.
        """
        method, options = incoming.method, incoming.options
        limits = self._limits.queues[method.application]
        request = QueueRequest(
            method.route.queue,
            caller_holds=self._limits.admission.calls.held_by(incoming.permit.caller),
            priority=options.priority,
            deadline_s=inf if options.detach else incoming.deadline.remaining_s(),
            queue_wait_s=self._limits.queue_wait_s(method),
            sees_figures=lambda: self._may(principal, QUEUES),
            held=self._held(incoming),
        )
        refusal = limits.refusal(request)
        if refusal is not None and await self._refreshed(limits[method.route.queue], method):
            refusal = limits.refusal(request)
        if refusal is not None and not await self._is_known(incoming, principal):
            raise refusal

    async def _refreshed(self, load: QueueLoad, method: Method) -> bool:
        """Whether the queue's depth was read again, since calls may have left the queue."""
        if not load.counts_calls_left or self._ledger_calls is None or method.application:
            return False
        try:
            load.on_depth(await self._ledger_calls.broker.depth(method.route.queue))
        except BackendUnavailable:
            return False
        return True

    async def _check_delay(
        self, incoming: IncomingCall, start: Start, principal: Principal
    ) -> None:
        """Raises the error of a call that can't start so late, unless its id is known."""
        try:
            check_delay(
                *(incoming.method, start, incoming.deadline),
                detach=incoming.options.detach,
                max_eta_s=self._limits.max_eta_s(incoming.method.application),
            )
            if self._ledger_calls is not None and not incoming.method.is_plain:
                await self._ledger_calls.delayed.check_room(incoming.permit.tenant)
        except ForebayError:
            if not await self._is_known(incoming, principal):
                raise

    def _counted_in_queue(
        self, incoming: IncomingCall
    ) -> AbstractContextManager[Callable[[], None]]:
        """Counts the call on its queue; a delayed one is in none yet."""
        if incoming.options.start is not None:
            return nullcontext(lambda: None)
        method, route = incoming.method, incoming.method.route
        max_batch = route.max_batch if incoming.ephemeral else 1
        queues = self._limits.queues[method.application]
        stays = method.operation is not None
        return queues.counted(route.queue, max_batch, stays_after=stays)

    def _held(self, incoming: IncomingCall) -> tuple[int, float] | None:
        tenant, method = incoming.permit.tenant, incoming.method
        calls = self._plain.get(method.application) if method.is_plain else self._ledger_calls
        if tenant is None or calls is None:
            return None
        return calls.fair.held_before(tenant.name, method.route.queue)

    async def _waited(
        self, wait: Awaitable[None], incoming: IncomingCall, principal: Principal
    ) -> None:
        """Awaits the turn of a new call; one that is known already needs none."""
        try:
            await wait
        except QuotaExceeded:
            if not await self._is_known(incoming, principal):
                raise

    async def _is_known(self, incoming: IncomingCall, principal: Principal) -> bool:
        """Whether the call adds no work: the ledger has the call, or a run that it would join."""
        if self._ledger_calls is None:
            return False
        durable, call_id = self._ledger_calls.durable, incoming.options.call_id
        if incoming.cache_key is not None:
            return await durable.can_join(incoming)
        return call_id is not None and await durable.exists(CallKey(call_id, principal.tenant))


def _check_options(method: Method, options: CallOptions) -> None:
    if options.call_id is not None and method.is_plain:
        raise InvalidRequest(
            f"{CALL_ID} is for methods with a record in the ledger",
            violations=(
                FieldViolation(
                    CALL_ID,
                    "expected none: the method runs a plain Celery task, and a retry of the "
                    "call would run it a second time",
                ),
            ),
        )
    if options.resume_from and not method.server_streaming:
        raise InvalidRequest(
            f"{RESUME_FROM} is for methods that stream responses",
            violations=(FieldViolation(RESUME_FROM, "expected 0: there is one response"),),
        )
