"""Connections to Redis that are opened again whenever they break."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from forebay.errors import BackendUnavailable
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.ledger.connections import CONNECT_TIMEOUT_S

RECONNECT_DELAY_S = 0.2

Session = Callable[[redis.asyncio.Redis, Callable[[], None]], Awaitable[None]]
"""Uses a client until its connection breaks; calls its second argument once that is up."""


async def keep_connected(
    url: str,
    session: Session,
    log: logging.Logger,
    name: str,
    *,
    on_broken: Callable[[], None],
    socket_timeout_s: float | None = None,
) -> None:
    """Runs one session after another, each with a new client, until cancelled.

    `on_broken` is called after each session. Errors do not end the loop: the log reports them
    under `name`, an outage only when it begins and when it is over.
    """
    outage = OutageLog(log, f"{name} is interrupted", f"{name} resumes")
    while True:
        client = redis.asyncio.Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=socket_timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            await session(client, outage.succeeded)
        except (RedisError, OSError, BackendUnavailable) as error:
            outage.failed(error)
        except Exception:  # a bug must not end the process
            log.exception("%s failed; it is retried", name)
        finally:
            on_broken()
            await client.aclose()
        await asyncio.sleep(RECONNECT_DELAY_S)
