"""Runs a loaded stack for some minutes, and draws the panels of `ops/dashboard.json` from it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from docs.panels.drawing import draw, read, rows
from tests.ops.stack import loaded_stack

DOCS = Path(__file__).parents[1]
STEP_S = 2.0


@click.command()
@click.option("--seconds", default=180.0, show_default=True, help="How long the stack runs.")
def main(seconds: float) -> None:
    """Draw one picture for each row of the dashboard, from real data."""
    with (
        tempfile.TemporaryDirectory() as folder,
        loaded_stack(Path(folder), kill_every_s=20.0) as prometheus,
    ):
        began_s = time.time()
        time.sleep(seconds)
        end_s = began_s + seconds
        found = {
            name: [read(panel, prometheus, began_s, end_s, STEP_S) for panel in panels]
            for name, panels in rows().items()
        }
    for name, drawn in found.items():
        draw(DOCS / f"monitoring-{name}.svg", drawn)


if __name__ == "__main__":
    main()
