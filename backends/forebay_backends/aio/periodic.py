"""Doing something again and again, whatever goes wrong once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from forebay.errors import BackendUnavailable


async def run_periodically(
    seconds: float, act: Callable[[], Awaitable[None]], log: logging.Logger, what: str
) -> None:
    """Acts until cancelled, about every so many seconds, with jitter.

    What goes wrong is logged as `what`'s, and tried again the next time; of a backend
    that is away the log tells once, and once when it is back.
    """
    is_away = False
    while True:
        try:
            await act()
        except BackendUnavailable as error:
            if not is_away:
                log.warning("%s has to wait: %s", what, error.__cause__ or error)
            is_away = True
        except Exception:
            log.exception("%s failed; it goes on", what)
        else:
            if is_away:
                log.info("%s goes on", what)
            is_away = False
        await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
