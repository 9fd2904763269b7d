"""Checks the kind and the configuration of a Redis, at startup and for `forebay doctor`.

A managed Redis may lack INFO and CONFIG, or refuse them to Forebay's user. Properties that it does
not report are None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from redis import exceptions as redis_errors

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.client import Ledger
from forebay_backends.urls import Kind, RedisServer

T = TypeVar("T")

_TIMEOUT_S = 2.0
_EXPECTED_KINDS = {
    "sentinel": (
        {Kind.SENTINEL},
        "is a Sentinel; write its URL as sentinel://HOST:PORT,HOST:PORT/MASTER/DB",
    ),
    "cluster": (
        {Kind.CLUSTER},
        "is a node of a Redis Cluster; write its URL as redis-cluster://HOST:PORT,HOST:PORT for "
        "the ledger, and set broker_url and result_url to others: Celery can't use a Cluster",
    ),
    "standalone": (
        {Kind.TCP, Kind.SOCKET, Kind.SENTINEL},
        "is not in cluster mode; write its URL as redis://HOST:PORT/DB",
    ),
}


@dataclass(frozen=True)
class ServerInfo:
    """Properties of a server; None for those that it does not report to this user."""

    mode: str | None = None
    """`standalone`, `cluster` or `sentinel`"""
    version: str | None = None
    evicts_keys: bool | None = None
    append_only: bool | None = None
    append_fsync: str | None = None

    @property
    def problem(self) -> tuple[str, str] | None:
        """Why the server is unfit for a ledger, and how to fix it; None if it is fit."""
        if self.evicts_keys:
            return "it evicts keys", "set `maxmemory-policy noeviction` there"
        if self.append_only is False:
            return "a restart loses calls", "set `appendonly yes` there"
        return None


async def read_server_info(ledger: Ledger) -> ServerInfo:
    """Asks the server; raises BackendUnavailable if it does not answer."""
    info = await _permitted(ledger, ledger.node_command("INFO", "server"))
    policy = await _permitted(
        ledger, ledger.node_command("CONFIG GET", "maxmemory-policy", "appendonly", "appendfsync")
    )
    info, policy = info or {}, policy or {}
    return ServerInfo(
        mode=info.get("redis_mode") or info.get("server_mode"),
        version=info.get("valkey_version") or info.get("redis_version"),
        evicts_keys=_unless_missing(policy, "maxmemory-policy", lambda it: it != "noeviction"),
        append_only=_unless_missing(policy, "appendonly", lambda it: it == "yes"),
        append_fsync=policy.get("appendfsync"),
    )


async def url_problems(servers: Mapping[str, object]) -> list[str]:
    """The problems of the Redis servers among these, by what each is used for.

    A server that does not answer has none: the process starts, and connects when it can.
    """
    named = {name: server for name, server in servers.items() if isinstance(server, RedisServer)}
    problems = await asyncio.gather(*map(_problem_within_timeout, named.values()))
    return [f"{name}: {text}" for name, text in zip(named, problems, strict=True) if text]


async def _problem_within_timeout(server: RedisServer) -> str | None:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await url_problem(server)
    except TimeoutError:
        return None


async def url_problem(server: RedisServer) -> str | None:
    """Why the URL's scheme does not fit the server that answers there, and the URL to use.

    None if the scheme fits, or if the server can't be reached or does not report its mode.
    """
    ledger = Ledger(server)
    try:
        mode = (await read_server_info(ledger)).mode
    except BackendUnavailable as error:
        if "Cluster mode is not enabled" in str(error.__cause__):
            return f"{server.shown} {_EXPECTED_KINDS['standalone'][1]}"
        return None
    finally:
        await ledger.close()
    kinds, problem = _EXPECTED_KINDS.get(mode or "", (set(Kind), ""))
    return None if server.kind in kinds else f"{server.shown} {problem}"


async def _permitted(ledger: Ledger, command: Awaitable[T]) -> T | None:
    """The reply; None if the server does not know the command or refuses it to Forebay's user."""
    try:
        return await ledger.within_timeout(command)
    except redis_errors.ResponseError:
        return None
    except BackendUnavailable as error:
        if isinstance(error.__cause__, redis_errors.ResponseError):
            return None
        raise


def _unless_missing(policy: dict[str, str], name: str, test: Any) -> bool | None:
    return bool(test(policy[name])) if name in policy else None
