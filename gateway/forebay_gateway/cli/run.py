"""Running a coroutine as a command: log, signals, and one-line errors."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import click

from forebay.errors import ForebayError
from forebay.routes import RouteError
from forebay_backends.embedded.errors import EmbeddedServerError
from forebay_backends.settings import SettingsError
from forebay_backends.telemetry.log_lines import JsonLines, TextLines, label_log_records
from forebay_gateway.cli.up import UpError
from forebay_gateway.server.errors import GatewayError
from forebay_gateway.server.lame_duck import LameDuck

T = TypeVar("T")

_EXPECTED = (SettingsError, RouteError, GatewayError, EmbeddedServerError, UpError, ForebayError)
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def log_to_stderr(level: str, form: str, process: str = "") -> None:
    """Logs to stderr; `form` is "text" or "json". `process` names the process in each line."""
    tag = f" [{process}]" if process else ""
    text = logging.Formatter(f"%(asctime)s{tag} %(levelname)s %(name)s: %(message)s")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(process or "gateway") if form == "json" else TextLines(text))
    label_log_records()
    logging.basicConfig(level=level, handlers=[handler])


def run(main: Coroutine[Any, Any, T]) -> T:
    """Returns the coroutine's result.

    Raises ClickException with one line for each expected error.
    """
    try:
        return asyncio.run(main)
    except* _EXPECTED as group:
        problems = [error_text(error) for error in _leaves(group)]
    raise click.ClickException("\n".join(problems))


def error_text(error: BaseException) -> str:
    """One line; several problems with the services become a list."""
    problems = error.problems if isinstance(error, RouteError) else []
    if len(problems) < 2:
        return str(error)
    return "\n  ".join([f"the services can't be served, for {len(problems)} reasons:", *problems])


def interrupt_at_sigterm() -> None:
    """Makes SIGTERM raise KeyboardInterrupt as Ctrl-C does, until `stop_signal` is called.

    So a start that is interrupted stops what it has started. SIGINT is set too, because shells
    start background jobs of scripts with SIGINT ignored, and `asyncio.run` would leave it ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def stop_signal(lame_duck: LameDuck | None = None) -> asyncio.Future[signal.Signals]:
    """The first SIGINT or SIGTERM from now on.

    Call it before the command says that it is ready. SIGINT skips the lame-duck time; after
    SIGTERM the next signal of either kind does. A signal after that ends the process.
    """
    first: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if not first.done():
            first.set_result(number)
        if lame_duck is not None and number == signal.SIGINT:
            lame_duck.skip()
        if lame_duck is None or lame_duck.is_over:
            remove_handlers()
        else:
            for each in _STOP_SIGNALS:
                loop.add_signal_handler(each, lame_duck.skip)

    def remove_handlers() -> None:
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)

    if lame_duck is not None:
        lame_duck.on_over.append(remove_handlers)
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    return first


def _leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
