"""`forebay ps`: calls and their progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import click
from rich.console import Console
from rich.live import Live

from forebay.cli.call_rows import CALLS, call_row
from forebay.cli.gateway import Gateway, gateway_at, pools_of
from forebay.cli.options import DECODES_MESSAGES, service_option, target_option
from forebay.cli.tables import line, show, table
from forebay.v1 import call_pb2

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
@click.option("--watch", "-w", is_flag=True, help="Refresh every second.")
def ps(
    target: str,
    services: tuple[str, ...],
    states: tuple[str, ...],
    method: str | None,
    all_calls: bool,
    limit: int,
    watch: bool,
) -> None:
    """Show calls, newest first: those that have not ended, and those of the last 5 minutes.

    If the output is not a terminal, rows are tab-separated, and --watch prints new and changed
    rows only.
    """
    pools = pools_of(services)
    console = Console()

    def rows(gateway: Gateway) -> list[tuple[str, ...]]:
        return [
            call_row(operation, short=console.is_terminal, pools=pools)
            for operation in gateway.operations(_filter(states, method, all_calls), limit)
        ]

    with gateway_at(target) as gateway:
        if not watch:
            show(console, CALLS, rows(gateway))
        elif console.is_terminal:
            with Live(table(CALLS, rows(gateway)), console=console, auto_refresh=False) as live:
                while True:
                    gateway.sleep(_REFRESH_INTERVAL_S)
                    live.update(table(CALLS, rows(gateway)), refresh=True)
        else:
            _print_changes(gateway, rows)


def _print_changes(gateway: Gateway, rows: Callable[[Gateway], list[tuple[str, ...]]]) -> None:
    click.echo(line(CALLS), nl=False)
    age = CALLS.index("age")
    shown: dict[str, tuple[str, ...]] = {}
    while True:
        now = {row[0]: row for row in reversed(rows(gateway))}
        for call_id, row in now.items():
            before = shown.get(call_id)
            if before is None or before[:age] + before[age + 1 :] != row[:age] + row[age + 1 :]:
                click.echo(line(row), nl=False)
        shown = now
        gateway.sleep(_REFRESH_INTERVAL_S)


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
