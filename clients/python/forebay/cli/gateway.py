"""A gateway's calls and queues, for the commands that show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.duration_pb2 import Duration

from forebay.cli.call_names import OWN, Tenants, starts_with
from forebay.cli.call_rows import id_of
from forebay.cli.connection import Server, server_at
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.errors import fail
from forebay.cli.reflection import reflected
from forebay.cli.services import pools_of
from forebay.cli.target import Target
from forebay.metadata import OPERATION_METADATA
from forebay.routes import Method
from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub

_RPC_TIMEOUT_S = 10.0
_WITH_CALL_METADATA = ((OPERATION_METADATA, "call"),)


class Gateway:
    """The Operations and CallService of a gateway; Ctrl-C cancels their RPCs.

    A call is `ID` of one of `tenants`, or `TENANT/ID`.
    """

    def __init__(self, server: Server, ctrl_c: CancelOnCtrlC, tenants: Tenants = OWN) -> None:
        self.tenants = tenants
        self._operations: Any = operations_pb2.OperationsStub(server.channel)
        self._calls = CallServiceStub(server.channel)
        self._server = server
        self._ctrl_c = ctrl_c
        self.sleep = ctrl_c.sleep
        self.target = server.target

    def operation(self, call_id: str) -> operations_pb2.Operation:
        request = operations_pb2.GetOperationRequest(name=self.tenants.name_of(call_id))
        return self._unary(self._operations.GetOperation, request)

    def operations(self, filter_text: str, limit: int) -> list[operations_pb2.Operation]:
        """At most `limit` calls that match the filter, newest first."""
        return self._listed(self._collection, filter_text, limit)

    @property
    def _collection(self) -> str:
        return "" if self.tenants == OWN else self.tenants.collection

    def _listed(
        self, collection: str, filter_text: str, limit: int
    ) -> list[operations_pb2.Operation]:
        found: list[operations_pb2.Operation] = []
        request = operations_pb2.ListOperationsRequest(name=collection, filter=filter_text)
        while len(found) < limit:
            request.page_size = min(limit - len(found), 500)
            page = self._unary(self._operations.ListOperations, request)
            found += page.operations
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        return found

    def newest_operations(self, filter_text: str, limit: int) -> Sequence[operations_pb2.Operation]:
        """Like `operations`, of one page: those that the gateway finds with bounded work."""
        request = operations_pb2.ListOperationsRequest(
            name=self._collection, filter=filter_text, page_size=limit
        )
        page = self._unary(self._operations.ListOperations, request)
        found: Sequence[operations_pb2.Operation] = page.operations
        return found

    def cancel(self, call_id: str) -> operations_pb2.Operation:
        """The call after it was cancelled."""
        request = operations_pb2.CancelOperationRequest(name=self.tenants.name_of(call_id))
        self._unary(self._operations.CancelOperation, request)
        return self.operation(call_id)

    def wait(self, call_id: str, seconds: float) -> operations_pb2.Operation:
        """The call when it has ended, or after that many seconds."""
        timeout = Duration()
        timeout.FromNanoseconds(int(seconds * 1e9))
        request = operations_pb2.WaitOperationRequest(
            name=self.tenants.name_of(call_id), timeout=timeout
        )
        return self._unary(self._operations.WaitOperation, request, seconds)

    def items(
        self, call_id: str, first: int, follow: bool
    ) -> Iterator[calls_pb2.ReadItemsResponse]:
        request = calls_pb2.ReadItemsRequest(
            name=self.tenants.name_of(call_id), first=first, follow=follow
        )
        return self._ctrl_c.responses(self._calls.ReadItems(request))

    def ids_starting_with(self, prefix: str, limit: int) -> list[str]:
        """At most `limit` ids of calls, newest first; the characters must be those of ids."""
        name = self.tenants.name_of(prefix)
        collection, _, start = name.rpartition("/")
        # A call of a named tenant has the short name where that tenant is the caller's own.
        found = self._listed(collection, f'name = "*operations/{start}*"', limit)
        return [id_of(one) for one in found if starts_with(one.name, name)]

    def queues(self) -> Sequence[calls_pb2.Queue]:
        listed: calls_pb2.ListQueuesResponse = self._unary(
            self._calls.ListQueues, calls_pb2.ListQueuesRequest()
        )
        return listed.queues

    def workers(self) -> calls_pb2.ListWorkersResponse:
        """The live workers, and what they run."""
        listed: calls_pb2.ListWorkersResponse = self._unary(
            self._calls.ListWorkers, calls_pb2.ListWorkersRequest()
        )
        return listed

    def errors(self, method: str = "") -> Sequence[calls_pb2.ErrorSample]:
        """The errors of the last hour, the latest first; of all methods without a name."""
        request = calls_pb2.ListErrorsRequest(parent=self._collection, method=method)
        listed: calls_pb2.ListErrorsResponse = self._unary(self._calls.ListErrors, request)
        return listed.errors

    def activity(self, window_s: int) -> calls_pb2.ReadActivityResponse:
        """The calls that ended within the last seconds, as one interval."""
        window = Duration(seconds=window_s)
        read: calls_pb2.ReadActivityResponse = self._unary(
            self._calls.ReadActivity, calls_pb2.ReadActivityRequest(window=window)
        )
        return read

    def served_methods(self) -> Sequence[calls_pb2.ServedMethod]:
        """The methods that it serves, with their workers."""
        listed: calls_pb2.ListMethodsResponse = self._unary(
            self._calls.ListMethods, calls_pb2.ListMethodsRequest()
        )
        return listed.methods

    def description(self, method: str) -> calls_pb2.DescribeMethodResponse:
        """The messages of the method with this full name."""
        described: calls_pb2.DescribeMethodResponse = self._unary(
            self._calls.DescribeMethod, calls_pb2.DescribeMethodRequest(method=method)
        )
        return described

    def who_am_i(self) -> calls_pb2.WhoAmIResponse:
        """Whom the gateway takes this caller for."""
        found: calls_pb2.WhoAmIResponse = self._unary(self._calls.WhoAmI, calls_pb2.WhoAmIRequest())
        return found

    def described_methods(self) -> Sequence[Method] | None:
        """The methods that reflection has; None if the server has no reflection."""
        found = reflected(self._server, self._ctrl_c)
        return None if found is None else found.methods

    def pools(self, services: Sequence[str]) -> tuple[DescriptorPool, ...]:
        """The descriptor pools of its messages or, if given, those of `services`."""
        return pools_of(self._server, services, self._ctrl_c)

    def _unary(self, method: Any, request: Any, seconds: float = 0.0) -> Any:
        timeout_s = seconds + _RPC_TIMEOUT_S
        return self._ctrl_c.result(
            method.future(request, timeout=timeout_s, metadata=_WITH_CALL_METADATA)
        )


@contextmanager
def gateway_at(target: Target, tenants: Tenants = OWN) -> Iterator[Gateway]:
    """The first gateway of `--target` that answers; an RPC that fails ends the command."""
    try:
        with CancelOnCtrlC() as ctrl_c, server_at(target, ctrl_c) as server:
            yield Gateway(server, ctrl_c, tenants)
    except grpc.RpcError as error:
        fail(of_rpc_error(error), target)
