"""One of several gateway processes: `python -m forebay_gateway.cli.gateway_process FD NUMBER`.

FD is a socket to the parent (`server/supervisor.py`). The process writes to it that it is
ready, or why it can't start, and exits when the parent closes it. It ignores SIGINT: Ctrl-C
in a terminal reaches every process of the group, and the parent then sends SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import click

from forebay_backends.process.memory import collect_rarely
from forebay_backends.process.parent_link import exit_with_parent
from forebay_backends.settings import Settings, SettingsError, load_settings
from forebay_gateway.cli.run import log_to_stderr, run
from forebay_gateway.server.gateway import running_gateway
from forebay_gateway.server.lame_duck import SKIP_LAME_DUCK, LameDuck
from forebay_gateway.server.supervisor import READY


def main() -> None:
    """Runs until SIGTERM; the process's arguments are FD and NUMBER."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link, number = int(sys.argv[1]), sys.argv[2]
    exit_with_parent(link)
    try:
        settings = load_settings()
        log_to_stderr(settings.log_level, settings.log_format, f"gateway {number}")
        run(_serve(settings, link, number))
    except (SettingsError, click.ClickException) as error:
        os.write(link, str(error).encode())
        sys.exit(1)


async def _serve(settings: Settings, link: int, number: str) -> None:
    stop = asyncio.Event()
    # A second SIGTERM changes nothing: a signal to the whole process group arrives here
    # both directly and from the parent.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    lame_duck = LameDuck(settings.lame_duck_s)
    asyncio.get_running_loop().add_signal_handler(SKIP_LAME_DUCK, lame_duck.skip)
    async with running_gateway(settings, lame_duck=lame_duck, process=number):
        collect_rarely()
        os.write(link, READY.encode())
        await stop.wait()


if __name__ == "__main__":
    main()
