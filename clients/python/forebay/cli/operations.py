"""`forebay wait`, `cancel`, `logs` and `queues`."""

from __future__ import annotations

import json

import click
import grpc
from rich.console import Console

from forebay.cli.call_rows import QUEUES, outcome_line, queue_row, state_of
from forebay.cli.gateway import gateway_at, pools_of
from forebay.cli.message_json import as_json
from forebay.cli.options import DECODES_MESSAGES, service_option, target_option
from forebay.cli.tables import show
from forebay.deadline import Deadline
from forebay.errors import CallUnknown
from forebay.rpc_errors import of_rpc_error

TIMED_OUT = 124
"""The exit code of `forebay wait` if the call has not ended in time, as of timeout(1)."""

_MAX_WAIT_PER_RPC_S = 60.0


@click.command()
@target_option()
@click.argument("call_id", metavar="ID")
@click.option(
    "--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Give up after this time."
)
def wait(target: str, call_id: str, timeout: float | None) -> None:
    """Wait until the call has ended, and print its outcome.

    The exit code is 0 if it succeeded, 1 if it failed, and 124 if it has not ended in time.
    """
    deadline = Deadline.after(timeout)
    with gateway_at(target) as gateway:
        while True:
            operation = gateway.wait(call_id, min(deadline.remaining_s(), _MAX_WAIT_PER_RPC_S))
            if operation.done:
                break
            if deadline.passed:
                click.echo(f"{call_id} is {state_of(operation)} after {timeout:g} s", err=True)
                raise SystemExit(TIMED_OUT)
    click.echo(outcome_line(operation))
    if operation.HasField("error"):
        raise SystemExit(1)


@click.command()
@target_option()
@click.argument("call_ids", nargs=-1, required=True, metavar="ID...")
def cancel(target: str, call_ids: tuple[str, ...]) -> None:
    """Cancel calls; calls that have ended are left unchanged."""
    failed = False
    with gateway_at(target) as gateway:
        for call_id in call_ids:
            try:
                gateway.cancel(call_id)
                click.echo(f"{call_id}\t{state_of(gateway.operation(call_id))}")
            except grpc.RpcError as error:
                problem = of_rpc_error(error)
                if not isinstance(problem, CallUnknown):
                    raise
                click.echo(f"Error: {call_id}: {problem}", err=True)
                failed = True
    if failed:
        raise SystemExit(1)


@click.command()
@target_option()
@service_option(DECODES_MESSAGES)
@click.argument("call_id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Print new items until the call ends.")
@click.option(
    "--first", type=click.IntRange(0), default=0, metavar="N", help="Skip the first N items."
)
def logs(target: str, services: tuple[str, ...], call_id: str, follow: bool, first: int) -> None:
    """Print the call's items, one line of JSON each, without progress; see `forebay ps`."""
    pools = pools_of(services)
    with gateway_at(target) as gateway:
        for response in gateway.items(call_id, first, follow):
            click.echo(json.dumps(as_json(response.item, pools), ensure_ascii=False))


@click.command()
@target_option()
def queues(target: str) -> None:
    """Show queues: waiting calls, consumers, and the rate at which calls start."""
    with gateway_at(target) as gateway:
        show(Console(), QUEUES, [queue_row(queue) for queue in gateway.queues()])
