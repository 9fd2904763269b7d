"""`python -m bench.reliability FIGURE`: one figure of docs/reliability.md, measured here."""

from __future__ import annotations

import click

from bench.reliability import attacking, cancelling, idling, losing, restarting


@click.group()
def main() -> None:
    """Measure one figure of docs/reliability.md."""


@main.command()
@click.option("--count", default=10_000, show_default=True)
def cancelled(count: int) -> None:
    """Cancelled calls whose handlers still run."""
    click.echo(cancelling.many(count))


@main.command()
@click.option("--rounds", default=20, show_default=True)
def cancel(rounds: int) -> None:
    """Time from a cancellation until the slot is free."""
    click.echo(cancelling.soon(rounds))


@main.command()
@click.option("--workers", default=5, show_default=True)
@click.option("--children", default=10, show_default=True)
def kill(workers: int, children: int) -> None:
    """Time from a SIGKILL until the call runs again."""
    click.echo(losing.lost(workers, children))


@main.command()
@click.option("--count", default=2_000, show_default=True)
def idle(count: int) -> None:
    """Memory of streams that wait for a worker."""
    click.echo(idling.idle(count))


@main.command()
@click.option("--rounds", default=7, show_default=True)
def restart(rounds: int) -> None:
    """Time from a Redis restart until calls are served."""
    click.echo(restarting.restarted(rounds))


@main.command()
@click.option("--front", default="native", show_default=True)
def attacks(front: str) -> None:
    """Attacks by HTTP/2: when they end, and their cost."""
    click.echo(attacking.attacked(front))


if __name__ == "__main__":
    main()
