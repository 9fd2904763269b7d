"""`forebay up --reload`: restarts everything when a file of the current folder changes.

Each restart is a new `forebay up`: a child process (`reloaded.py`) with its own process group. So a
terminal's Ctrl-C reaches only this process, which then stops the child in order.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from watchfiles import Change, PythonFilter, awatch

from forebay_backends.aio.cancellation import cancel_all
from forebay_gateway.cli.run import stop_signal
from forebay_gateway.server.child_process import ChildProcess

FLAG = "--reload"
_WATCHED = PythonFilter(extra_extensions=(".toml", ".binpb"))
"""Python files, the settings, and descriptor sets; not those of .venv and the like."""
_STOP_STEPS = ((signal.SIGTERM, 60.0),)
_MAX_NAMED = 3


async def reloading(words: Sequence[str], folder: Path) -> None:
    """Runs `forebay` with these words until SIGINT or SIGTERM, and anew after each change.

    If the child ends, because of an error in a file for example, the next change starts a new one.
    """
    words = [word for word in words if word != FLAG]
    stop = stop_signal()
    changes = awatch(folder, watch_filter=_WATCHED, ignore_permission_denied=True)
    try:
        while not stop.done():
            child = ChildProcess("forebay_gateway.cli.reloaded", *words, env={}, own_group=True)
            await child.start()
            changed = asyncio.create_task(anext(changes))
            try:
                await _until_stop_or_change(child, stop, changed)
                if changed.done():
                    click.echo(f"{_changes(changed, folder)} changed: restarting", err=True)
            finally:
                await child.stop(_STOP_STEPS)
                await cancel_all([changed])
    finally:
        stop.cancel()


async def _until_stop_or_change(
    child: ChildProcess,
    stop: asyncio.Future[signal.Signals],
    changed: asyncio.Task[set[tuple[Change, str]]],
) -> None:
    ended = asyncio.create_task(child.wait())
    reasons: set[asyncio.Future[Any]] = {stop, changed}
    await asyncio.wait({*reasons, ended}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done() and not (stop.done() or changed.done()):
        click.echo("forebay has ended; it starts again when a file changes", err=True)
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    await cancel_all([ended])


def _changes(changed: asyncio.Task[set[tuple[Change, str]]], folder: Path) -> str:
    """The names of the changed files; raises ClickException if the folder can't be watched."""
    try:
        changes = changed.result()
    except (OSError, RuntimeError) as error:  # the kernel limits how many folders are watched
        raise click.ClickException(f"{FLAG}: {folder} can't be watched: {error}") from error
    names = sorted({os.path.relpath(path, folder) for _, path in changes})
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
