"""One funnel for every call: metadata, deadline, checks, admission, accept, deliver, status.

What follows admission is in `durable.py`, for calls that are records in the ledger,
in `ephemeral.py`, for those that live in this process, and in `plain`, for tasks that know
nothing of Forebay. But for these, the gateway parses requests, to check them, and never a
response.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import grpc

from forebay.checks import CheckFactory, NoCheck
from forebay.deadline import Deadline
from forebay.errors import (
    DeadlineExceeded,
    FieldViolation,
    ForebayError,
    InvalidRequest,
)
from forebay.metadata import CALL_ID, RESUME_FROM
from forebay.routes import Method
from forebay_gateway.admission.admission import Admission, Permit
from forebay_gateway.admission.caller_identity import caller_of
from forebay_gateway.admission.queue_limits import QueueLimits, QueueRequest
from forebay_gateway.plain.calls import PlainCalls
from forebay_gateway.rpc.incoming import (
    Context,
    IncomingCall,
    RequestLimits,
    RequestStream,
    receive,
)
from forebay_gateway.rpc.options import read_call_options
from forebay_gateway.rpc.outcomes import gateway_fault
from forebay_gateway.rpc.status import abort
from forebay_gateway.server.ledger_calls import LedgerCalls

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallLimits:
    """What a call passes before it is accepted: places, queues, and what bounds its requests."""

    admission: Admission
    queues: QueueLimits
    bounds: RequestLimits
    queue_wait_s: Callable[[Method], float]


class CallHandler:
    """Serves calls of every routed method. One object a gateway.

    `ledger_calls` and `plain` are None where none of the gateway's methods needs them.
    """

    def __init__(
        self,
        gates: CallLimits,
        checks: dict[str, CheckFactory],
        ledger_calls: LedgerCalls | None,
        plain: PlainCalls | None,
    ) -> None:
        self._limits = gates
        self._checks = checks
        self._ledger_calls = ledger_calls
        self._plain = plain

    def handler(self, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
        """What a server calls for the method. Messages are passed as bytes.

        Requests are always read as a stream: gRPC would call a handler of one request only
        when that is here, and a caller who never sends it would hold its call uncounted.
        """

        async def behavior(_: object, context: Context) -> bytes | None:
            return await self._serve(method, RequestStream(context), context)

        untyped: Any = behavior
        if method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(untyped)
        return grpc.stream_unary_rpc_method_handler(untyped)

    async def _serve(
        self, method: Method, requests: RequestStream, context: Context
    ) -> bytes | None:
        try:
            with self._limits.admission.admit(caller_of(context.peer())) as permit:
                incoming = await self._receive(method, requests, context, permit)
                calls = self._calls_of(method)
                if incoming.is_attach_only:
                    return await calls.serve(incoming, context)
                await self._ask_queue(incoming)
                max_batch = method.route.max_batch if incoming.ephemeral else 1
                with self._limits.queues.counted(method.route.queue, max_batch):
                    return await calls.serve(incoming, context)
        except ForebayError as error:
            await abort(context, error)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except grpc.aio.InternalError as gone:  # Core refuses to send to a caller who has left
            raise asyncio.CancelledError from gone
        except Exception as error:
            if context.cancelled():  # gRPC raises errors of its own where the caller is gone
                raise asyncio.CancelledError from error
            _log.exception("%s failed in the gateway", method.name)
            await abort(context, gateway_fault())

    def _calls_of(self, method: Method) -> LedgerCalls | PlainCalls:
        calls = self._plain if method.is_plain else self._ledger_calls
        if calls is None:
            raise RuntimeError(f"nothing was set up for {method.name}")
        return calls

    async def _receive(
        self, method: Method, requests: RequestStream, context: Context, permit: Permit
    ) -> IncomingCall:
        options = read_call_options(context.invocation_metadata() or (), method.route)
        if options.call_id is not None and method.is_plain:
            raise InvalidRequest(
                f"{CALL_ID} is for calls that keep a record",
                violations=(
                    FieldViolation(
                        CALL_ID,
                        "expected none: the method runs a plain Celery task, and a call "
                        "that is made again runs it again",
                    ),
                ),
            )
        if options.resume_from and not method.server_streaming:
            raise InvalidRequest(
                f"{RESUME_FROM} is for methods that stream responses",
                violations=(FieldViolation(RESUME_FROM, "expected 0: there is one response"),),
            )
        deadline = Deadline.after(context.time_remaining())
        if deadline.passed:
            raise DeadlineExceeded("the deadline passed before the call came in")
        check = self._checks.get(method.name, NoCheck)()
        return await receive(
            method, options, deadline, requests, check, permit, self._limits.bounds
        )

    async def _ask_queue(self, incoming: IncomingCall) -> None:
        """Raises CapacityError where the queue takes no further call.

        A call whose id is known adds no work; the ledger is asked only where it matters.
        """
        method, options = incoming.method, incoming.options
        refusal = self._limits.queues.refusal(
            QueueRequest(
                method.route.queue,
                caller_holds=self._limits.admission.calls.of(incoming.permit.caller),
                priority=options.priority,
                deadline_s=inf if options.detach else incoming.deadline.remaining_s(),
                queue_wait_s=self._limits.queue_wait_s(method),
            )
        )
        if refusal is None:
            return
        if options.call_id is None or self._ledger_calls is None:
            raise refusal
        if not await self._ledger_calls.knows(options.call_id):
            raise refusal
