"""`forebay wait`, `cancel`, `logs` and `queues`."""

from __future__ import annotations

import click
from google.longrunning.operations_pb2 import Operation
from rich.console import Console

from forebay.cli.call_ids import NoSuchCall, with_call
from forebay.cli.call_names import Tenants
from forebay.cli.call_operations import TIMED_OUT
from forebay.cli.call_rows import (
    QUEUES,
    call_json,
    id_of,
    outcome_line,
    queue_json,
    queue_row,
    state_of,
)
from forebay.cli.gateway import gateway_at
from forebay.cli.message_json import as_json as item_json
from forebay.cli.options import (
    DECODES_MESSAGES,
    json_option,
    service_option,
    target_option,
    tenant_option,
)
from forebay.cli.tables import show, show_json, show_lines
from forebay.cli.target import Target
from forebay.deadline import Deadline

_MAX_WAIT_PER_RPC_S = 60.0


@click.command()
@target_option()
@tenant_option
@click.argument("call_id", metavar="ID")
@click.option(
    "--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Give up after this time."
)
@json_option
def wait(
    target: Target, tenant: str | None, call_id: str, timeout: float | None, as_json: bool
) -> None:
    """Wait until the call has ended, and print its outcome.

    The start of an ID is enough if no other call's ID starts with it. TENANT/ID is a call of
    another tenant.

    The exit code is 0 if it succeeded, 1 if it failed, and 124 if it has not ended in time.
    """
    deadline = Deadline.after(timeout)

    def once(call_id: str) -> Operation:
        return gateway.wait(call_id, min(deadline.remaining_s(), _MAX_WAIT_PER_RPC_S))

    with gateway_at(target, Tenants(tenant)) as gateway:
        operation = with_call(gateway, call_id, once)
        while not operation.done and not deadline.passed:
            operation = once(id_of(operation))
    if not operation.done:
        state = state_of(operation)
        click.echo(f"{id_of(operation)} is {state} after {timeout:g} s", err=True)
        raise SystemExit(TIMED_OUT)
    if as_json:
        show_json([call_json(operation)])
    else:
        click.echo(outcome_line(operation))
    if operation.HasField("error"):
        raise SystemExit(1)


@click.command()
@target_option()
@tenant_option
@click.argument("call_ids", nargs=-1, required=True, metavar="ID...")
@json_option
def cancel(target: Target, tenant: str | None, call_ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel calls; calls that have ended are left unchanged.

    The start of an ID is enough if no other call's ID starts with it. TENANT/ID is a call of
    another tenant.
    """
    failed = False
    with gateway_at(target, Tenants(tenant)) as gateway:
        for call_id in call_ids:
            try:
                operation = with_call(gateway, call_id, gateway.cancel)
            except NoSuchCall as error:
                error.show()
                failed = True
            else:
                _show_cancelled(operation, as_json)
    if failed:
        raise SystemExit(1)


def _show_cancelled(operation: Operation, as_json: bool) -> None:
    if as_json:
        show_json([call_json(operation)])
    else:
        show_lines([(id_of(operation), state_of(operation))])


@click.command()
@target_option()
@service_option(DECODES_MESSAGES)
@tenant_option
@click.argument("call_id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Print new items until the call ends.")
@click.option(
    "--first", type=click.IntRange(0), default=0, metavar="N", help="Skip the first N items."
)
def logs(
    target: Target,
    services: tuple[str, ...],
    tenant: str | None,
    call_id: str,
    follow: bool,
    first: int,
) -> None:
    """Print the call's items, one line of JSON each, without progress; see `forebay ps`.

    The start of an ID is enough if no other call's ID starts with it. TENANT/ID is a call of
    another tenant.
    """
    with gateway_at(target, Tenants(tenant)) as gateway:
        pools = gateway.pools(services)

        def show_items(call_id: str) -> None:
            for response in gateway.items(call_id, first, follow):
                show_json([item_json(response.item, pools)])

        with_call(gateway, call_id, show_items)


@click.command()
@target_option()
@json_option
def queues(target: Target, as_json: bool) -> None:
    """Show queues: waiting calls, consumers, and the rate at which calls start."""
    with gateway_at(target) as gateway:
        found = gateway.queues()
    if as_json:
        show_json(map(queue_json, found))
    else:
        show(Console(), QUEUES, map(queue_row, found))
