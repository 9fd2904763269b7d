"""`forebay call` on a method that returns an operation: prints the operation, or waits for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
import grpc
from google.longrunning.operations_pb2 import Operation
from google.protobuf.message import Message
from rich.console import Console

from forebay.cli.call_rows import error_of, metadata_of, state_of
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.errors import fail, show_id
from forebay.cli.gateway import Gateway, gateway_at
from forebay.cli.message_json import as_dict, fraction_of, unpacked
from forebay.cli.progress_bar import ProgressBar
from forebay.cli.target import Target
from forebay.deadline import Deadline
from forebay.routes import Method
from forebay.rpc_errors import of_rpc_error

TIMED_OUT = 124
"""The exit code if the call has not ended in time, as of timeout(1)."""

_MAX_WAIT_PER_RPC_S = 60.0
_PROGRESS_INTERVAL_S = 1.0


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
    """Starts the operation and prints it; if it `waits`, prints its response instead.

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
        with gateway_at(target) as gateway:
            ended = _wait(gateway, method, name, deadline)
    except SystemExit:  # by Ctrl-C
        show_id(name)
        raise
    if not ended.done:
        click.echo(f"{name} is {state_of(ended)}, and goes on", err=True)
        raise SystemExit(TIMED_OUT)
    error = error_of(ended)
    if error is not None:
        fail(error, target, name)
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
    try:
        with CancelOnCtrlC() as ctrl_c:
            return ctrl_c.result(invoke.future(request, timeout=timeout_s, metadata=metadata))
    except grpc.RpcError as error:
        fail(of_rpc_error(error), target)


def _wait(gateway: Gateway, method: Method, name: str, deadline: Deadline) -> Operation:
    bar = ProgressBar(Console(stderr=True), method.name.rpartition(".")[2])
    bar.start()
    per_rpc_s = _PROGRESS_INTERVAL_S if sys.stderr.isatty() else _MAX_WAIT_PER_RPC_S
    try:
        while True:
            operation = gateway.wait(name, min(deadline.remaining_s(), per_rpc_s))
            if operation.done or deadline.passed:
                return operation
            fraction = fraction_of(metadata_of(operation).progress, (method.pool,))
            if fraction is not None:
                bar.update(fraction)
    finally:
        bar.remove()


def _show(message: Message) -> None:
    click.echo(json.dumps(as_dict(message), ensure_ascii=False))
