"""What every command that runs for long does: its log, its end, and its clear last words."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import click

from forebay.errors import ForebayError
from forebay.routes import RouteError
from forebay_backends.embedded.server import EmbeddedServerError
from forebay_backends.settings import SettingsError
from forebay_gateway.cli.up import UpError
from forebay_gateway.server.errors import GatewayError

T = TypeVar("T")

_EXPECTED = (SettingsError, RouteError, GatewayError, EmbeddedServerError, UpError, ForebayError)


def log_to_stderr(level: str, process: str = "") -> None:
    """Logs a line a message; `process` is for one of several that share a log."""
    who = f" [{process}]" if process else ""
    logging.basicConfig(level=level, format=f"%(asctime)s{who} %(levelname)s %(name)s: %(message)s")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs to the end; what can be expected to go wrong becomes one clear line each.

    Raises ClickException with these lines.
    """
    problems: list[str] = []
    try:
        return asyncio.run(main)
    except* _EXPECTED as group:
        problems = [told(error) for error in _leaves(group)]
    raise click.ClickException("\n".join(problems))


def told(error: BaseException) -> str:
    """What is wrong, in a line; of services, where that is more, in a list of them."""
    problems = error.problems if isinstance(error, RouteError) else []
    if len(problems) < 2:
        return str(error)
    return "\n  ".join([f"the services can't be served, for {len(problems)} reasons:", *problems])


async def told_to_stop() -> None:
    """Returns at the first SIGINT or SIGTERM; a second one ends the process as ever."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell() -> None:
        told.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, tell)
    await told.wait()


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
