"""One of a gateway's processes: `python -m forebay_gateway.member FD NUMBER`.

FD is its end of the line to its starter (`processes.py`), to which it says that it is ready, or
why it can't be, and with which it ends. It leaves a terminal's Ctrl-C to its starter.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click

from forebay_backends.process.memory import freeze_startup_objects
from forebay_backends.process.parent_link import exit_with_parent
from forebay_backends.settings import Settings, SettingsError, load_settings
from forebay_gateway.cli.run import log_to_stderr, run
from forebay_gateway.server.gateway import running_gateway
from forebay_gateway.server.processes import READY


def main() -> None:
    """Runs until SIGTERM; the process's arguments are FD and NUMBER."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line, number = int(sys.argv[1]), sys.argv[2]
    exit_with_parent(line)
    try:
        settings = load_settings()
        log_to_stderr(settings.log_level, f"gateway {number}")
        run(_serve(settings, line))
    except (SettingsError, click.ClickException) as error:
        os.write(line, str(error).encode())
        sys.exit(1)


async def _serve(settings: Settings, line: int) -> None:
    told = asyncio.Event()
    # A second one means the same: who ends a whole group of processes tells each of them, too.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with running_gateway(settings):
        freeze_startup_objects()
        os.write(line, READY.encode())
        await told.wait()


if __name__ == "__main__":
    main()
