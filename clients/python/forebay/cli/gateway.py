"""A gateway's calls and queues, for the commands that show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import grpc
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.duration_pb2 import Duration

from forebay.cli.call_rows import id_of
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.errors import channel_to, fail
from forebay.cli.message_json import COMPILED
from forebay.routes.sources import SourceError, read_source
from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub

_RPC_TIMEOUT_S = 10.0
_COLLECTION = "operations/"


class Gateway:
    """The Operations and CallService of a gateway; Ctrl-C cancels their RPCs."""

    def __init__(self, channel: grpc.Channel, ctrl_c: CancelOnCtrlC) -> None:
        self._operations: Any = operations_pb2.OperationsStub(channel)
        self._calls = CallServiceStub(channel)
        self._ctrl_c = ctrl_c
        self.sleep = ctrl_c.sleep

    def operation(self, call_id: str) -> operations_pb2.Operation:
        request = operations_pb2.GetOperationRequest(name=_name(call_id))
        return self._unary(self._operations.GetOperation, request)

    def operations(self, filter_text: str, limit: int) -> list[operations_pb2.Operation]:
        """At most `limit` calls that match the filter, newest first."""
        found: list[operations_pb2.Operation] = []
        request = operations_pb2.ListOperationsRequest(filter=filter_text)
        while len(found) < limit:
            request.page_size = min(limit - len(found), 500)
            page = self._unary(self._operations.ListOperations, request)
            found += page.operations
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        return found

    def cancel(self, call_id: str) -> operations_pb2.Operation:
        """The call after it was cancelled."""
        request = operations_pb2.CancelOperationRequest(name=_name(call_id))
        self._unary(self._operations.CancelOperation, request)
        return self.operation(call_id)

    def wait(self, call_id: str, seconds: float) -> operations_pb2.Operation:
        """The call when it has ended, or after that many seconds."""
        timeout = Duration()
        timeout.FromNanoseconds(int(seconds * 1e9))
        request = operations_pb2.WaitOperationRequest(name=_name(call_id), timeout=timeout)
        return self._unary(self._operations.WaitOperation, request, seconds)

    def items(
        self, call_id: str, first: int, follow: bool
    ) -> Iterator[calls_pb2.ReadItemsResponse]:
        request = calls_pb2.ReadItemsRequest(name=_name(call_id), first=first, follow=follow)
        return self._ctrl_c.responses(self._calls.ReadItems(request))

    def ids_starting_with(self, prefix: str, limit: int) -> list[str]:
        """At most `limit` ids of calls, newest first; the characters must be those of ids."""
        return [id_of(found) for found in self.operations(f'name = "{_name(prefix)}*"', limit)]

    def queues(self) -> Sequence[calls_pb2.Queue]:
        listed: calls_pb2.ListQueuesResponse = self._unary(
            self._calls.ListQueues, calls_pb2.ListQueuesRequest()
        )
        return listed.queues

    def _unary(self, method: Any, request: Any, seconds: float = 0.0) -> Any:
        return self._ctrl_c.result(method.future(request, timeout=seconds + _RPC_TIMEOUT_S))


@contextmanager
def gateway_at(target: str) -> Iterator[Gateway]:
    """A gateway; a failed RPC ends the command with a message."""
    try:
        with (
            channel_to(target) as channel,
            CancelOnCtrlC() as ctrl_c,
        ):
            yield Gateway(channel, ctrl_c)
    except grpc.RpcError as error:
        fail(of_rpc_error(error), target)


def pools_of(sources: Sequence[str]) -> tuple[DescriptorPool, ...]:
    """The descriptor pools of the sources and of imported modules."""
    pools = list(COMPILED)
    for name in sources:
        try:
            pools.append(read_source(name).pool)
        except SourceError as error:
            raise click.ClickException(f"--service = {name!r}: {error}") from error
    return tuple(dict.fromkeys(pools))


def _name(call_id: str) -> str:
    return f"{_COLLECTION}{call_id.removeprefix(_COLLECTION)}"
