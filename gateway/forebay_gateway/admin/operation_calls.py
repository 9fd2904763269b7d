"""Calls of methods that return an operation: answered as soon as they are accepted."""

from __future__ import annotations

from forebay.metadata import ATTACHED, CALL_ID
from forebay_gateway.admin.operation_messages import started_operation
from forebay_gateway.admin.operations import Operations
from forebay_gateway.durable.calls import DurableCalls
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.incoming import IncomingCall


class OperationCalls:
    """Serves the calls of methods that return an operation. One object a gateway."""

    def __init__(self, durable: DurableCalls, operations: Operations) -> None:
        self._durable = durable
        self._operations = operations

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes:
        """Accepts the call, or attaches to it; returns its operation.

        Then the ledger has the call, and the call continues without this caller.
        """
        call, attached = await self._durable.accept(incoming, context)
        types = incoming.method.operation
        if attached == "new" and types is not None:
            operation = started_operation(call, context.principal.tenant, types)
        else:
            operation = await self._operations.operation(call, context)
        await context.send_initial_metadata(((CALL_ID, call.id), (ATTACHED, attached)))
        return bytes(operation.SerializeToString())
