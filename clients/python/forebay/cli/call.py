"""`forebay call METHOD FIELD=VALUE …`: a call from the shell."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TextIO

import click
import grpc
from google.protobuf.message import Message
from rich.console import Console

from forebay.channels import channel
from forebay.cli.call_metadata import id_of_ended, metadata_of
from forebay.cli.call_operations import call_operation
from forebay.cli.call_requests import (
    options_in,
    request_messages,
    request_metadata,
    trace_id,
    traced,
)
from forebay.cli.connection import NoServer, server_at
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.errors import fail, show_id
from forebay.cli.message_json import as_dict
from forebay.cli.method_names import find_method
from forebay.cli.options import SERVICE_FORMS, routes_option, service_option, target_option
from forebay.cli.progress_bar import ProgressBar
from forebay.cli.services import methods_of
from forebay.cli.target import Target
from forebay.deadline import Deadline
from forebay.errors import BackendError
from forebay.metadata import (
    ATTACHED,
    CACHE,
    CALL_ID,
    ON_DISCONNECT,
    PRIORITY,
    QUEUE_MS,
    RESUME_FROM,
    RUN_MS,
    START_AFTER,
    START_AT,
)
from forebay.routes import Method
from forebay.rpc_errors import of_rpc_error

# On a terminal, longer texts and lists are shortened.
_LONGEST_TEXT = 120
_LONGEST_LIST = 24
_SHOWN_AT_EACH_END = 24


@click.command()
@click.argument("method")
@click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
@target_option("The gateways; if one fails, the call continues on another.")
@click.option(
    "--resume/--no-resume",
    default=True,
    help="Retry after a failure, and resume the response stream. Default: yes.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Fail after this time. Default: never.",
)
@click.option("--id", "call_id", metavar="ID", help="The call's id; makes the call durable.")
@click.option("--resume-from", type=click.IntRange(0), metavar="N", help="Skip the first N items.")
@click.option("--priority", type=click.IntRange(0, 9), help="0 to 9; 9 is the most urgent.")
@click.option("--wait", is_flag=True, help="Wait for the operation, and print its response.")
@click.option(
    "--in", "start_after", metavar="TIME", help="Start after this time, such as 10m or 1h30m."
)
@click.option(
    "--at", "start_at", metavar="DATE", help="Start at this time, such as 2026-01-31T08:00:00Z."
)
@click.option(
    "--detach",
    is_flag=True,
    help="Leave the call when it is accepted, and print its id. It goes on.",
)
@click.option("--trace", is_flag=True, help="Trace the call, and print the trace's id.")
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Print the call's id and times, even if not to a terminal.",
)
@click.option("--header", "-H", "headers", multiple=True, metavar="KEY:VALUE", help="Metadata.")
@click.option(
    "--requests",
    type=click.File("r"),
    metavar="FILE",
    help="More request messages, one line of JSON each; - is standard input.",
)
@service_option(f"{SERVICE_FORMS} of the service; repeatable.")
@routes_option
def call(
    method: str,
    fields: tuple[str, ...],
    target: Target,
    resume: bool,
    timeout: float | None,
    call_id: str | None,
    resume_from: int | None,
    priority: int | None,
    wait: bool,
    start_after: str | None,
    start_at: str | None,
    detach: bool,
    trace: bool,
    verbose: bool,
    headers: tuple[str, ...],
    requests: TextIO | None,
    services: tuple[str, ...],
    routes: str | None,
) -> None:
    """Call METHOD, such as Add or forebay.compute.v1.ComputeService.Add.

    Examples: `forebay call Factorial n=1000`,
    `forebay call MatMul random.m=200 random.n=200`. Dots name nested fields. Each response is
    printed as a line of JSON; on a terminal, long values are shortened, and a bar shows the
    progress of a stream until its first response.

    A method with operation_info returns an operation, which is printed; the call goes on. With
    --wait, its response is printed when it has ended. Ctrl-C and --timeout end the wait, and leave
    the operation running.
    """
    options = {
        CALL_ID: call_id,
        RESUME_FROM: resume_from,
        PRIORITY: priority,
        START_AFTER: start_after,
        START_AT: start_at,
        ON_DISCONNECT: "detach" if detach else None,
    }
    metadata = request_metadata(options, headers)
    given_id = dict(metadata).get(CALL_ID)
    methods = {one.name: one for one in _methods(target, services, routes, given_id)}
    found = methods[find_method(method, methods)]
    if wait and found.operation is None:
        raise click.ClickException(f"--wait is for methods that return an operation: {found.name}")
    messages = list(request_messages(found, fields, requests))
    if trace:
        metadata = traced(metadata)
        click.echo(f"trace {trace_id(metadata)}", err=True)
    with channel(
        target.addresses,
        resume=resume and not detach,  # its `cancel` would end the call
        credentials=target.credentials(),
        token=target.token(),
        pool=found.pool,
        routes=routes,
    ) as gateways:
        if found.operation is None:
            run = partial(_run, gateways, target, found, messages, metadata, timeout)
            run(detach=detach, verbose=verbose)
        else:
            call_operation(gateways, target, found, messages, metadata, timeout, waits=wait)


def _methods(
    target: Target, services: Sequence[str], routes: str | None, given_id: str | None
) -> tuple[Method, ...]:
    try:
        with CancelOnCtrlC() as ctrl_c, server_at(target, ctrl_c) as server:
            return methods_of(server, services, routes, ctrl_c)
    except NoServer as error:
        fail(BackendError(error.problem), target, given_id)
    except grpc.RpcError as error:
        fail(of_rpc_error(error), target, given_id)


def _run(
    gateways: grpc.Channel,
    target: Target,
    method: Method,
    messages: Sequence[Message],
    metadata: tuple[tuple[str, str], ...],
    timeout_s: float | None,
    *,
    detach: bool,
    verbose: bool,
) -> None:
    # On the wire all four kinds of RPC are the same, so one multi-callable serves for all.
    invoke = gateways.stream_stream(
        method.path,
        request_serializer=method.request_class.SerializeToString,
        response_deserializer=method.response_class.FromString,
    )
    timeout_s = Deadline.after(timeout_s).timeout_s()
    try:
        with _Output(method, verbose=verbose) as output, CancelOnCtrlC() as ctrl_c:
            call = invoke(iter(messages), timeout=timeout_s, metadata=metadata)
            try:
                accepted = ctrl_c.initial_metadata(call).get(CALL_ID) if detach else None
                if accepted is not None:
                    click.echo(accepted)
                    return
                for response in ctrl_c.responses(call):
                    output.show(response)
            finally:
                call.cancel()
    except grpc.RpcError as error:
        failure = of_rpc_error(error)
        fail(failure, target, id_of_ended(call), options_in(failure.message))
    except SystemExit:  # by Ctrl-C
        show_id(id_of_ended(call))
        raise
    output.show_summary(metadata_of(call))


class _Output:
    """Prints items to standard output, progress and the summary to standard error."""

    def __init__(self, method: Method, *, verbose: bool) -> None:
        self._method = method
        self._verbose = verbose
        self._err = Console(stderr=True)
        self._shorten = sys.stdout.isatty()
        self._bar = ProgressBar(self._err, method.name.rpartition(".")[2])

    def __enter__(self) -> _Output:
        if self._method.server_streaming:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.remove()

    def show(self, response: Message) -> None:
        if self._method.is_transient(response):
            progress = getattr(response, self._method.route.transient)
            fraction = getattr(progress, "fraction", None)  # the field may have any type
            if isinstance(fraction, int | float):
                self._bar.update(fraction)
            return
        self._bar.remove()
        value = as_dict(response)
        if not self._method.server_streaming or not value:
            value = as_dict(response, defaults=True)
        click.echo(json.dumps(_shortened(value) if self._shorten else value, ensure_ascii=False))

    def show_summary(self, metadata: Mapping[str, str]) -> None:
        """Prints the call's id, how it came to its run, and its times.

        Only to a terminal, unless `verbose`.
        """
        if not (self._err.is_terminal or self._verbose):
            return
        parts = [
            f"{key.removeprefix('forebay-')} {metadata[key]}"
            for key in (CALL_ID, ATTACHED, CACHE, QUEUE_MS, RUN_MS)
            if key in metadata
        ]
        self._err.print("[dim]" + ", ".join(parts) + "[/dim]", highlight=False, soft_wrap=True)


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list) and len(value) > _LONGEST_LIST:
        return [*value[:4], f"… {len(value)} values in all"]
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        start, end = value[:_SHOWN_AT_EACH_END], value[-_SHOWN_AT_EACH_END:]
        digest = hashlib.sha256(value.encode()).hexdigest()[:16]
        return f"{start}…{end} ({len(value)} characters, sha256 {digest}…)"
    return value
