"""`forebay ps`: calls and their progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import click
from google.longrunning.operations_pb2 import Operation
from google.protobuf.descriptor_pool import DescriptorPool
from rich.console import Console
from rich.live import Live

from forebay.cli.call_names import Tenants
from forebay.cli.call_rows import CALLS, call_json, call_row, metadata_of
from forebay.cli.gateway import Gateway, gateway_at
from forebay.cli.options import (
    DECODES_MESSAGES,
    all_tenants_option,
    json_option,
    service_option,
    target_option,
    tenant_option,
)
from forebay.cli.tables import Row, show, show_json, show_lines, table
from forebay.cli.target import Target
from forebay.v1 import call_pb2
from forebay.v1.calls_pb2 import CallMetadata

RECENT = timedelta(minutes=5)

_REFRESH_INTERVAL_S = 1.0
_STATES = [name.removeprefix("CALL_STATE_") for name in call_pb2.CallState.keys()[1:]]


@click.command()
@target_option()
@service_option(DECODES_MESSAGES)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES, case_sensitive=False),
    help="Only calls in this state; repeatable.",
)
@click.option("--method", metavar="NAME", help="Only calls of this method, such as Add.")
@click.option(
    "--all",
    "-a",
    "all_calls",
    is_flag=True,
    help="Include calls that ended earlier.",
)
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="Show at most N calls.",
)
@tenant_option
@all_tenants_option
@click.option("--watch", "-w", is_flag=True, help="Refresh every second.")
@json_option
def ps(
    target: Target,
    services: tuple[str, ...],
    states: tuple[str, ...],
    method: str | None,
    all_calls: bool,
    limit: int,
    tenant: str | None,
    all_tenants: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Show calls, newest first: those that have not ended, and those of the last 5 minutes.

    Calls of other tenants are shown as TENANT/ID; they need a permission.

    If the output is not a terminal, rows are tab-separated. With --json or without a terminal,
    --watch prints new and changed calls only.
    """
    console = Console()
    with gateway_at(target, Tenants(tenant, all_tenants)) as gateway:
        pools = gateway.pools(services)
        listings = _listings(gateway, partial(_filter, states, method, all_calls), limit, watch)
        if as_json or not console.is_terminal:
            _print_lines(_changed(listings) if watch else listings, pools, as_json)
        elif watch:
            with Live(console=console, auto_refresh=False) as live:
                for rows in _rows_for_terminal(listings, pools):
                    live.update(table(CALLS, rows, console.width), refresh=True)
        else:
            for rows in _rows_for_terminal(listings, pools):
                show(console, CALLS, rows)


def _listings(
    gateway: Gateway, filter_text: Callable[[], str], limit: int, watch: bool
) -> Iterator[list[Operation]]:
    """One listing of the calls; with `watch`, a new one every second, without end."""
    yield gateway.operations(filter_text(), limit)
    while watch:
        gateway.sleep(_REFRESH_INTERVAL_S)
        yield gateway.operations(filter_text(), limit)


def _rows_for_terminal(
    listings: Iterable[list[Operation]], pools: Sequence[DescriptorPool]
) -> Iterator[list[Row]]:
    for calls in listings:
        yield [call_row(one, short=True, pools=pools) for one in calls]


def _print_lines(
    listings: Iterable[list[Operation]], pools: Sequence[DescriptorPool], as_json: bool
) -> None:
    if not as_json:
        show_lines([CALLS])
    for calls in listings:
        if as_json:
            show_json(call_json(one, pools) for one in calls)
        else:
            show_lines(call_row(one, short=False, pools=pools) for one in calls)


def _changed(listings: Iterable[list[Operation]]) -> Iterator[list[Operation]]:
    """The calls of each listing that are new or have changed, oldest first."""
    shown: dict[str, CallMetadata] = {}
    for calls in listings:
        now = {}
        for call in calls:
            now[call.name] = metadata_of(call)
            now[call.name].ClearField("read_time")
        yield [call for call in reversed(calls) if shown.get(call.name) != now[call.name]]
        shown = now


def _filter(states: Sequence[str], method: str | None, all_calls: bool) -> str:
    comparisons = []
    if states:
        comparisons.append(" OR ".join(f"state = {state.upper()}" for state in states))
    elif not all_calls:
        recent = (datetime.now(UTC) - RECENT).isoformat().replace("+00:00", "Z")
        comparisons.append(f'done = false OR finish_time > "{recent}"')
    if method is not None:
        text = method.replace("\\", r"\\").replace('"', r"\"")
        comparisons.append(f'method = "{text if set(text) & set(".*") else f"*.{text}"}"')
    return " AND ".join(comparisons)
