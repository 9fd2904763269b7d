"""Checks at startup that the server behind each Redis URL is of the kind that the URL says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from forebay.routes import Method
from forebay_backends.ledger.server_check import url_problem
from forebay_backends.settings import Settings
from forebay_backends.urls import RedisServer
from forebay_gateway.server.errors import GatewayError
from forebay_gateway.server.methods import applications_of, needs_ledger, needs_main_broker

_TIMEOUT_S = 2.0


async def check_backend_urls(settings: Settings, methods: Sequence[Method]) -> None:
    """Raises GatewayError for a Sentinel or a cluster's node under a plain URL, and the like.

    A server that does not answer raises nothing: the gateway starts, and connects when it can.
    """
    backends = settings.backends()
    used: dict[str, object] = {"ledger": backends.ledger} if needs_ledger(methods) else {}
    if needs_main_broker(methods) and not backends.broker_is_ledger:
        used["broker"] = backends.broker
    for name in applications_of(methods):
        application = settings.application(name)
        if name:
            used[application.called("broker")] = application.broker
        used[application.called("result backend")] = application.result_server
    servers = {name: server for name, server in used.items() if isinstance(server, RedisServer)}
    problems = await asyncio.gather(*(_problem(server) for server in servers.values()))
    found = [f"{name}: {text}" for name, text in zip(servers, problems, strict=True) if text]
    if found:
        raise GatewayError("\n".join(found))


async def _problem(server: RedisServer) -> str | None:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await url_problem(server)
    except TimeoutError:
        return None
