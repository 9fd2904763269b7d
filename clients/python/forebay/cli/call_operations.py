"""`forebay call` for methods that return a long-running operation: prints it, or waits for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import grpc
from google.longrunning import operations_pb2
from google.longrunning.operations_pb2 import Operation
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from rich.console import Console

from forebay.cli.call_metadata import id_of_ended
from forebay.cli.call_requests import options_in
from forebay.cli.call_rows import error_of, id_of, metadata_of, state_of
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.errors import fail, show_id
from forebay.cli.message_json import as_dict, fraction_of, unpacked
from forebay.cli.progress_bar import ProgressBar
from forebay.cli.target import Target
from forebay.deadline import Deadline
from forebay.errors import ForebayError
from forebay.metadata import OPERATION_METADATA
from forebay.resume.policy import RETRY_FOR_S
from forebay.resume.transport_errors import is_transport_error
from forebay.routes import Method
from forebay.rpc_errors import of_rpc_error

TIMED_OUT = 124
"""The exit code if the call has not ended in time; the same as that of timeout(1)."""

_PER_RPC_S = 60.0
_PROGRESS_INTERVAL_S = 1.0
"""How often progress is read for a terminal. The end of the operation is reported at once."""
_REPLY_S = 10.0
_RETRY_S = 1.0


def call_operation(
    gateways: grpc.Channel,
    target: Target,
    method: Method,
    messages: Sequence[Message],
    metadata: tuple[tuple[str, str], ...],
    timeout_s: float | None,
    *,
    waits: bool,
) -> None:
    """Starts the operation and prints it; with `waits`, waits and prints its response instead.

    Ctrl-C and a timeout end the wait, not the operation.
    """
    if len(messages) != 1:
        raise click.ClickException(f"{method.name}: expected one request, got {len(messages)}")
    deadline = Deadline.after(timeout_s)
    operation = _start(gateways, target, method, messages[0], metadata, deadline.timeout_s())
    if not waits:
        _show(operation)
        return
    name: str = operation.name
    try:
        ended = _wait(gateways, method, name, deadline)
    except grpc.RpcError as error:
        fail(of_rpc_error(error), target, id_of(operation))
    except SystemExit:  # by Ctrl-C
        show_id(id_of(operation))
        raise
    if not ended.done:
        click.echo(f"{name} is {state_of(ended)}, and goes on", err=True)
        raise SystemExit(TIMED_OUT)
    failure = error_of(ended)
    if failure is not None:
        fail(failure, target, id_of(operation))
    response = unpacked(ended.response, (method.pool,))
    _show(ended.response if response is None else response)


def _start(
    gateways: grpc.Channel,
    target: Target,
    method: Method,
    request: Message,
    metadata: tuple[tuple[str, str], ...],
    timeout_s: float | None,
) -> Any:
    invoke: Any = gateways.unary_unary(
        method.path,
        request_serializer=method.request_class.SerializeToString,
        response_deserializer=method.response_class.FromString,
    )
    call = invoke.future(request, timeout=timeout_s, metadata=metadata)
    try:
        with CancelOnCtrlC() as ctrl_c:
            return ctrl_c.result(call)
    except grpc.RpcError as error:
        failure = of_rpc_error(error)
        fail(failure, target, id_of_ended(call), options_in(failure.message))
    except SystemExit:  # by Ctrl-C
        show_id(id_of_ended(call))
        raise


def _wait(gateways: grpc.Channel, method: Method, name: str, deadline: Deadline) -> Operation:
    """Returns the operation when it has ended, or as it is at the deadline.

    Retries on the next gateway if one fails. Raises `grpc.RpcError` after `RETRY_FOR_S` without an
    answer, and at once for errors that a retry can't fix.
    """
    stub: Any = operations_pb2.OperationsStub(gateways)
    failing = Deadline.after(RETRY_FOR_S)
    per_rpc_s = _PROGRESS_INTERVAL_S if sys.stderr.isatty() else _PER_RPC_S
    with _progress_bar(method) as bar, CancelOnCtrlC() as ctrl_c:
        while True:
            wait_s = min(deadline.remaining_s(), per_rpc_s)
            request = operations_pb2.WaitOperationRequest(name=name, timeout=_duration(wait_s))
            rpc = {"timeout": wait_s + _REPLY_S, "metadata": ((OPERATION_METADATA, "call"),)}
            try:
                operation = ctrl_c.result(stub.WaitOperation.future(request, **rpc))
            except grpc.RpcError as error:
                if failing.passed or not _may_go_away(of_rpc_error(error)):
                    raise
                ctrl_c.sleep(_RETRY_S)
                continue
            if operation.done or deadline.passed:
                return operation
            failing = Deadline.after(RETRY_FOR_S)
            fraction = fraction_of(metadata_of(operation).progress, (method.pool,))
            if fraction is not None:
                bar.update(fraction)


def _may_go_away(error: ForebayError) -> bool:
    return error.retry_may_help or is_transport_error(error)


@contextmanager
def _progress_bar(method: Method) -> Iterator[ProgressBar]:
    bar = ProgressBar(Console(stderr=True), method.name.rpartition(".")[2])
    bar.start()
    try:
        yield bar
    finally:
        bar.remove()


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration


def _show(message: Message) -> None:
    click.echo(json.dumps(as_dict(message), ensure_ascii=False))
