"""`forebay wait`, `cancel`, `logs`, `queues`: what one does about calls, from the shell."""

from __future__ import annotations

import json
import time

import click
import grpc
from rich.console import Console

from forebay.cli.call_rows import QUEUES, how_it_ended, queue_row, state_of
from forebay.cli.gateway import gateway_at, pools_of
from forebay.cli.message_json import as_json
from forebay.cli.options import FOR_MESSAGES, service_option, target_option
from forebay.cli.tables import show
from forebay.errors import CallUnknown
from forebay.rpc_errors import of_rpc_error

TIMED_OUT = 124
"""The exit code of `forebay wait` whose time is up; timeout(1) has it, too."""

_WAIT_AT_A_TIME_S = 60.0


@click.command()
@target_option()
@click.argument("call_id", metavar="ID")
@click.option(
    "--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Maximum time to wait."
)
def wait(target: str, call_id: str, timeout: float | None) -> None:
    """Wait until the call has ended, and print its outcome.

    The exit code is 0 if the call succeeded, 1 if it failed, and 124 after the timeout.
    """
    give_up = None if timeout is None else time.monotonic() + timeout
    with gateway_at(target) as gateway:
        while True:
            left_s = _WAIT_AT_A_TIME_S if give_up is None else max(0.0, give_up - time.monotonic())
            operation = gateway.wait(call_id, min(left_s, _WAIT_AT_A_TIME_S))
            if operation.done:
                break
            if give_up is not None and time.monotonic() >= give_up:
                click.echo(f"{call_id} is {state_of(operation)} after {timeout:g} s", err=True)
                raise SystemExit(TIMED_OUT)
    click.echo(how_it_ended(operation))
    if operation.HasField("error"):
        raise SystemExit(1)


@click.command()
@target_option()
@click.argument("call_ids", nargs=-1, required=True, metavar="ID...")
def cancel(target: str, call_ids: tuple[str, ...]) -> None:
    """Cancel calls. This does not change calls that have ended."""
    failed = False
    with gateway_at(target) as gateway:
        for call_id in call_ids:
            try:
                gateway.cancel(call_id)
                click.echo(f"{call_id}\t{state_of(gateway.operation(call_id))}")
            except grpc.RpcError as error:
                known = of_rpc_error(error)
                if not isinstance(known, CallUnknown):
                    raise
                click.echo(f"Error: {call_id}: {known}", err=True)
                failed = True
    if failed:
        raise SystemExit(1)


@click.command()
@target_option()
@service_option(FOR_MESSAGES)
@click.argument("call_id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Print new items until the call has ended.")
@click.option("--first", type=click.IntRange(0), default=0, metavar="N", help="Start at item N.")
def logs(target: str, services: tuple[str, ...], call_id: str, follow: bool, first: int) -> None:
    """Print the call's items, one line of JSON each. For progress see `forebay ps`."""
    pools = pools_of(services)
    with gateway_at(target) as gateway:
        for response in gateway.items(call_id, first, follow):
            click.echo(json.dumps(as_json(response.item, pools), ensure_ascii=False))


@click.command()
@target_option()
def queues(target: str) -> None:
    """Show each queue's waiting calls, workers and speed."""
    with gateway_at(target) as gateway:
        show(Console(), QUEUES, [queue_row(queue) for queue in gateway.queues()])
