"""`google.longrunning.Operations`: every durable call is an operation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeVar

from google.longrunning import operations_pb2 as pb
from google.protobuf import empty_pb2

from forebay.errors import CallNotFinished, FieldViolation, InvalidRequest
from forebay.metadata import OPERATION_METADATA
from forebay.routes import Method
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Refusal, Refused
from forebay_backends.ledger.operations.calls import cancel
from forebay_backends.ledger.operations.inspection import delete, describe, observe
from forebay_gateway.admin.call_access import CallAccess
from forebay_gateway.admin.filters import parse_filter
from forebay_gateway.admin.listing import Listing
from forebay_gateway.admin.observers import Observers
from forebay_gateway.admin.operation_messages import operation_of
from forebay_gateway.admin.pages import cursor_of, page_size, token_of
from forebay_gateway.audit.entry import Event
from forebay_gateway.durable.watches import LEASE_CHECK_INTERVAL_S
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.outcomes import call_unknown
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, unary

T = TypeVar("T")

SERVICE = "google.longrunning.Operations"
MAX_WAIT_S = 30 * 60.0
"""How long WaitOperation waits for a call if its caller sets no bound."""

_MAX_ITEM_BYTES = 1 << 30  # in effect no limit: the response is the whole last item
_REPLY_MARGIN_S = 1.0


class Operations:
    """Serves the operations of one gateway."""

    def __init__(
        self,
        ledger: Ledger,
        methods: Mapping[str, Method],
        observers: Observers,
        channel: str,
        access: CallAccess,
    ) -> None:
        self._ledger = ledger
        self._methods = methods
        self._observers = observers
        self._channel = channel
        self._access = access
        self._listing = Listing(ledger, methods)

    def own_methods(self) -> dict[str, OwnMethod]:
        """The methods of the service, by their paths."""
        methods = {
            "GetOperation": unary(pb.GetOperationRequest, self.get),
            "ListOperations": unary(pb.ListOperationsRequest, self.list_page),
            "CancelOperation": unary(pb.CancelOperationRequest, self.cancel),
            "DeleteOperation": unary(pb.DeleteOperationRequest, self.delete),
            "WaitOperation": unary(pb.WaitOperationRequest, self.wait),
        }
        return by_path(SERVICE, methods)

    async def get(self, request: pb.GetOperationRequest, context: Context) -> pb.Operation:
        """The call's current state."""
        call = self._call(request.name, context, Event.READ, "GetOperation")
        return await self.operation(call, context, with_call_metadata=wants_call_metadata(context))

    async def cancel(self, request: pb.CancelOperationRequest, context: Context) -> empty_pb2.Empty:
        """Cancels the call; a call that has ended stays as it is."""
        call = self._call(request.name, context, Event.CANCEL, "CancelOperation")
        refused = await self._ledger.run(cancel(call))
        if refused is not None and refused.why is Refusal.UNKNOWN:
            raise call_unknown()
        return empty_pb2.Empty()

    async def delete(self, request: pb.DeleteOperationRequest, context: Context) -> empty_pb2.Empty:
        """Deletes the record of a call that has ended."""
        call = self._call(request.name, context, Event.DELETE, "DeleteOperation")
        refused = await self._ledger.run(delete(call))
        if refused is None:
            return empty_pb2.Empty()
        if refused.why is Refusal.UNKNOWN:
            raise call_unknown()
        raise CallNotFinished(
            f"{request.name} is {refused.why}; only a call that has ended can be deleted: "
            "cancel it, or wait for it"
        )

    async def wait(self, request: pb.WaitOperationRequest, context: Context) -> pb.Operation:
        """Waits until the call ends, time runs out or the gateway drains; returns its state."""
        call = self._call(request.name, context, Event.READ, "WaitOperation")
        with_call_metadata = wants_call_metadata(context)
        give_up_at = time.monotonic() + _wait_s(request, context)
        with self._observers.open(call, Ending) as observer:
            while not found(await self._ledger.run(observe(call, self._channel))).state.terminal:
                left_s = give_up_at - time.monotonic()
                if left_s <= 0 or self._observers.is_draining:
                    break
                await observer.wait(min(left_s, LEASE_CHECK_INTERVAL_S))
        return await self.operation(call, context, with_call_metadata=with_call_metadata)

    async def list_page(
        self, request: pb.ListOperationsRequest, context: Context
    ) -> pb.ListOperationsResponse:
        """A page of calls, newest first."""
        caller, parent = context.principal.tenant, request.name
        owner = self._access.collection(parent, context, f"{SERVICE}/ListOperations")
        if request.return_partial_success:
            problem = "can't be set: a listing never leaves out calls that it can't reach"
            raise InvalidRequest(
                f"return_partial_success {problem}",
                violations=(FieldViolation("return_partial_success", problem),),
            )
        wanted, size = parse_filter(request.filter, caller), page_size(request.page_size)
        after = wanted.start
        if request.page_token:
            after = cursor_of(request.page_token, request.filter, parent)
        operations, read_to = await self._listing.page(
            *(owner, caller, wanted, after, size),
            with_call_metadata=wants_call_metadata(context),
        )
        return pb.ListOperationsResponse(
            operations=operations,
            next_page_token="" if read_to is None else token_of(read_to, request.filter, parent),
        )

    def _call(self, name: str, context: Context, event: Event, method: str) -> CallKey:
        return self._access.call(name, context, event, f"{SERVICE}/{method}")

    async def operation(
        self, call: CallKey, context: Context, *, with_call_metadata: bool = False
    ) -> pb.Operation:
        """The call's operation; raises CallUnknown."""
        description = found(await self._ledger.run(describe(call, _MAX_ITEM_BYTES, review=True)))
        opened = self._ledger.seals.description(call, description)
        return operation_of(
            *(call, context.principal.tenant, opened, self._methods),
            with_call_metadata=with_call_metadata,
        )


def wants_call_metadata(context: Context) -> bool:
    """Whether the RPC asks for CallMetadata; raises InvalidRequest for another value."""
    wish = dict(context.invocation_metadata() or ()).get(OPERATION_METADATA)
    if wish not in (None, "call"):
        problem = f"is {wish!r}; expected call"
        raise InvalidRequest(
            f"{OPERATION_METADATA} {problem}",
            violations=(FieldViolation(OPERATION_METADATA, problem),),
        )
    return wish is not None


def found(answer: T | Refused) -> T:
    """The ledger's answer; raises CallUnknown if it has no such call."""
    if isinstance(answer, Refused):
        raise call_unknown()
    return answer


def _wait_s(request: pb.WaitOperationRequest, context: Context) -> float:
    """The time to wait: the request's timeout, but less than the time to the RPC's deadline.

    The reply is sent `_REPLY_MARGIN_S` before the deadline, or halfway to a deadline that is near.
    """
    bounds = [MAX_WAIT_S]
    if request.HasField("timeout"):
        timeout_s = request.timeout.seconds + request.timeout.nanos / 1e9
        if timeout_s < 0:
            problem = f"is {timeout_s:g} s; expected 0 or more"
            raise InvalidRequest(
                f"timeout {problem}", violations=(FieldViolation("timeout", problem),)
            )
        bounds.append(timeout_s)
    remaining_s = context.time_remaining()
    if remaining_s is not None:
        bounds.append(max(remaining_s - _REPLY_MARGIN_S, remaining_s / 2))
    return min(bounds)
