"""The command `forebay top`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue

import click
from rich.console import Console

from forebay.cli.call_names import Tenants
from forebay.cli.gateway import gateway_at
from forebay.cli.options import (
    all_tenants_option,
    json_option,
    target_option,
    tenant_option,
)
from forebay.cli.tables import show, show_json
from forebay.cli.target import Target
from forebay.cli.top.poller import Poller
from forebay.cli.top.screen import page_of, screen_of
from forebay.cli.top.snapshot import Snapshot, SnapshotReader
from forebay.cli.top.tables import COLUMNS, json_of, tables_of
from forebay.cli.top.terminal import Terminal
from forebay.cli.top.view import ALL, NAMES, View, ordered_by, pressed

_SIGNALLED = 128
_REDRAW_S = 60.0


@click.command()
@target_option()
@click.option(
    "--show",
    "name",
    type=click.Choice(NAMES),
    default=ALL,
    show_default=True,
    help="The table to begin with.",
)
@click.option("--sort", metavar="COLUMN", help="The order of the rows; -COLUMN: the largest first.")
@click.option("--filter", "text", default="", metavar="TEXT", help="Only rows with this text.")
@click.option(
    "--interval",
    type=click.FloatRange(0.5),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="The time between two readings.",
)
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, 500),
    default=50,
    show_default=True,
    help="Read at most N of the newest calls.",
)
@tenant_option
@all_tenants_option
@click.option("--once", is_flag=True, help="Print the tables once, and end.")
@json_option
def top(
    target: Target,
    name: str,
    sort: str | None,
    text: str,
    interval: float,
    limit: int,
    tenant: str | None,
    all_tenants: bool,
    once: bool,
    as_json: bool,
) -> None:
    """Watch queues, workers, rates, latencies and calls in the terminal; q quits, ? shows help.

    Calls are those that have not ended: the newest, and those that workers have run for longest.
    Rates and latencies are of this gateway and of the last 15 s. If the output is not a terminal,
    or with --once or --json, the tables are printed once: tab-separated, each after an empty line,
    or as lines of JSON.
    """
    view = View(name, filter=text)
    if sort is not None:
        try:
            view = ordered_by(view, sort)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--sort") from error
    console = Console(highlight=False, markup=False, emoji=False)
    tenants = Tenants(tenant, all_tenants)
    with gateway_at(target, tenants) as gateway:
        first = SnapshotReader(gateway, limit).read()
    is_live = console.is_terminal and not console.is_dumb_terminal and sys.stdin.isatty()
    if as_json:
        show_json(json_of(first, list(COLUMNS) if name == ALL else [name]))
    elif once or not is_live:
        _print(console, first, view)
    else:
        _watch(console, first, view, partial(Poller, target, tenants, interval, limit))


def _print(console: Console, snapshot: Snapshot, view: View) -> None:
    for number, table in enumerate(view.of(tables_of(snapshot, short=console.is_terminal))):
        if number:
            click.echo()
        show(console, table.columns, table.texts)


def _watch(
    console: Console,
    snapshot: Snapshot,
    view: View,
    poller_of: Callable[[Callable[[Snapshot | str], None]], Poller],
) -> None:
    """Shows the live view until it is left; ends with the code of a signal that ended it."""
    news: SimpleQueue[Snapshot | str] = SimpleQueue()
    problem: str | None = None
    with Terminal(console) as terminal:

        def on_news(one: Snapshot | str) -> None:
            news.put(one)
            terminal.wake()

        poller = poller_of(on_news)
        poller.start()
        try:
            while not view.has_quit and terminal.ended_by is None:
                width, height = terminal.size
                terminal.draw(screen_of(snapshot, view, problem, width, height))
                for key in terminal.wait(_REDRAW_S):
                    view = pressed(view, key, page_of(height))
                for one in _all(news):
                    if isinstance(one, str):
                        problem = one
                    elif not view.is_paused:
                        snapshot, problem = one, None
        finally:
            poller.stop()
    if terminal.ended_by is not None:
        raise SystemExit(_SIGNALLED + terminal.ended_by)


def _all(news: SimpleQueue[Snapshot | str]) -> Sequence[Snapshot | str]:
    taken: list[Snapshot | str] = []
    try:
        while True:
            taken.append(news.get_nowait())
    except Empty:
        return taken
