"""redis-py's clients for a server: one Redis, one behind Sentinel, or a Redis Cluster.

A command is retried only if its connection breaks: once, or twice in a cluster. Behind Sentinel,
each new connection asks the Sentinels for the master, and connections to a server that has become
a replica are closed. In a cluster, redis-py asks the other nodes. So all three kinds follow a
failover without a restart.
"""

from __future__ import annotations

import sys
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry as AsyncioRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from forebay_backends.ledger.chunked_send import chunked
from forebay_backends.ledger.packing import packed_by_hiredis
from forebay_backends.ledger.sentinels import AsyncioSentinels, Sentinels
from forebay_backends.urls import Kind, RedisServer, redis_server, sentinel_options

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 5.0
"""How long a command may take, from sending it to its reply."""
_MAX_CONNECTIONS = 64
_RETRIED = (redis_errors.ConnectionError,)


class _MasterPool(
    redis.asyncio.sentinel.SentinelConnectionPool, redis.asyncio.BlockingConnectionPool
):
    """Connections to Sentinel's master; a command waits for a free one."""


class _AsyncioMasterClient(redis.asyncio.Redis):
    """Closes the connections to the Sentinels, too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await pool.aclose()
        await pool.sentinel_manager.close()


class _MasterClient(redis.Redis):
    """Like `_AsyncioMasterClient`, but for threads."""

    def close(self) -> None:
        super().close()
        pool: Any = self.connection_pool
        pool.disconnect()
        pool.sentinel_manager.close()


def server_of(server: RedisServer | str) -> RedisServer:
    """Parses a URL into its server; returns a RedisServer unchanged."""
    return redis_server(server) if isinstance(server, str) else server


def asyncio_client(server: RedisServer) -> Any:
    """A client for commands; a `redis.asyncio.Redis` or `RedisCluster`.

    Only a cluster's client bounds sends and replies by itself: that takes a task for each send and
    a timer for each reply. `Ledger.within_timeout` bounds all commands.
    """
    options = _options(server)
    if server.kind is Kind.CLUSTER:
        nodes = [redis.asyncio.cluster.ClusterNode(*address) for address in server.hosts]
        return redis.asyncio.RedisCluster(
            startup_nodes=nodes,
            retry=AsyncioRetry(NoBackoff(), 2),
            reinitialize_steps=0,  # see moved_slots.py
            max_connections=_MAX_CONNECTIONS,
            ssl=server.tls is not None,
            **options,
        )
    options |= {
        "socket_timeout": None,
        "max_connections": _MAX_CONNECTIONS,
        "timeout": COMMAND_TIMEOUT_S,
        "retry": AsyncioRetry(NoBackoff(), 1, _RETRIED),
    }
    pool = _asyncio_pool(server, redis.asyncio.BlockingConnectionPool, _MasterPool, options)
    pool.connection_class = packed_by_hiredis(pool.connection_class)
    if sys.version_info < (3, 12):
        pool.connection_class = chunked(pool.connection_class)
    return _client_of(server, pool)


def asyncio_connection(server: RedisServer, socket_timeout_s: float | None = None) -> Any:
    """A client of one TCP host, socket or Sentinel's master, for one command that waits, or for
    pub/sub: without retries, and without a bound on a reply unless one is given.
    """
    options = _options(server) | {
        "socket_timeout": socket_timeout_s,
        "retry": AsyncioRetry(NoBackoff(), 0),
    }
    pool = _asyncio_pool(
        server,
        redis.asyncio.ConnectionPool,
        redis.asyncio.sentinel.SentinelConnectionPool,
        options,
    )
    return _client_of(server, pool)


def blocking_client(server: RedisServer) -> Any:
    """A client for threads; a `redis.Redis` or `RedisCluster`."""
    options = _options(server)
    if server.kind is Kind.CLUSTER:
        node: Any = redis.cluster.ClusterNode
        options |= {"ssl": True} if server.tls else {}
        return redis.RedisCluster(
            startup_nodes=[node(*address) for address in server.hosts],
            retry=Retry(NoBackoff(), 2),
            **options,
        )
    options["retry"] = Retry(NoBackoff(), 1, _RETRIED)
    if server.kind is Kind.SENTINEL:
        sentinel: Any = redis.sentinel.Sentinel
        sentinels = Sentinels(sentinel(server.hosts, sentinel_kwargs=sentinel_options(server)))
        master_pool: Any = redis.sentinel.SentinelConnectionPool
        pool = master_pool(server.master, sentinels, ssl=server.tls is not None, **options)
    else:
        pool = redis.ConnectionPool(
            connection_class={
                (Kind.SOCKET, False): redis.UnixDomainSocketConnection,
                (Kind.TCP, False): redis.Connection,
                (Kind.TCP, True): redis.SSLConnection,
            }[server.kind, server.tls is not None],
            **options,
        )
    client = _MasterClient if server.kind is Kind.SENTINEL else redis.Redis
    return client(connection_pool=pool)


def _client_of(server: RedisServer, pool: Any) -> Any:
    client = _AsyncioMasterClient if server.kind is Kind.SENTINEL else redis.asyncio.Redis
    return client(connection_pool=pool)


def _asyncio_pool(server: RedisServer, pool: Any, master_pool: Any, options: dict[str, Any]) -> Any:
    if server.kind is Kind.SENTINEL:
        sentinel: Any = redis.asyncio.sentinel.Sentinel
        options_of_sentinels = sentinel_options(server, AsyncioRetry)
        sentinels = AsyncioSentinels(sentinel(server.hosts, sentinel_kwargs=options_of_sentinels))
        return master_pool(server.master, sentinels, ssl=server.tls is not None, **options)
    connection = {
        (Kind.SOCKET, False): redis.asyncio.UnixDomainSocketConnection,
        (Kind.TCP, False): redis.asyncio.Connection,
        (Kind.TCP, True): redis.asyncio.SSLConnection,
    }[server.kind, server.tls is not None]
    return pool(connection_class=connection, **options)


def _options(server: RedisServer) -> dict[str, Any]:
    """redis-py's options for connections to the server."""
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": COMMAND_TIMEOUT_S,
        "socket_read_size": 256 << 10,
        "username": server.username or None,
        "password": server.password or None,
    }
    if server.kind is Kind.SOCKET:
        return options | {"path": server.path, "db": server.db}
    options["socket_keepalive"] = True
    if server.tls:
        options |= server.tls.for_redis()
    if server.kind is Kind.TCP:
        ((host, port),) = server.hosts
        options |= {"host": host, "port": port}
    return options if server.is_cluster else options | {"db": server.db}
