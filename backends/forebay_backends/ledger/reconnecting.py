"""Connections to Redis that are opened again whenever they break."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from math import inf

import redis.asyncio
from redis.exceptions import RedisClusterException, RedisError

from forebay.errors import BackendUnavailable
from forebay.jitter import one_of
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.ledger.connections import (
    COMMAND_TIMEOUT_S,
    asyncio_client,
    asyncio_connection,
)
from forebay_backends.urls import Kind, RedisServer

RECONNECT_DELAY_S = 0.2

Session = Callable[[redis.asyncio.Redis, Callable[[], None]], Awaitable[None]]
"""Uses a client until its connection breaks; calls the function when the connection is up."""


async def keep_connected(
    server: RedisServer,
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
    outage = OutageLog(log, f"{name} is interrupted", f"{name} resumes", repeat_s=inf)
    while True:
        try:
            async with AsyncExitStack() as stack:
                client = asyncio_connection(await one_node(server), socket_timeout_s)
                # Runs after `aclose`, which does not close a pool that was passed to the client.
                stack.push_async_callback(client.connection_pool.disconnect)
                stack.push_async_callback(client.aclose)
                await session(client, outage.succeeded)
        except (RedisError, RedisClusterException, OSError, BackendUnavailable) as error:
            outage.failed(error)
        except Exception:  # a bug must not end the process
            log.exception("%s failed; it is retried", name)
        finally:
            on_broken()
        await asyncio.sleep(RECONNECT_DELAY_S)


async def one_node(server: RedisServer) -> RedisServer:
    """The server itself or, for pub/sub in a cluster, any primary: nodes forward messages."""
    if not server.is_cluster:
        return server
    cluster = asyncio_client(server)
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            await cluster.initialize()
        node = one_of(cluster.get_primaries())
    finally:
        await cluster.aclose()
    return replace(server, kind=Kind.TCP, hosts=((node.host, node.port),))
