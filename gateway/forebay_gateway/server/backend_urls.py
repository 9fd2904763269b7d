"""Checks at startup that the server behind each Redis URL is of the kind that the URL says."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.routes import Method
from forebay_backends.ledger.server_check import url_problems
from forebay_backends.settings import Settings
from forebay_gateway.server.errors import GatewayError
from forebay_gateway.server.methods import applications_of, needs_ledger, needs_main_broker


async def check_backend_urls(settings: Settings, methods: Sequence[Method]) -> None:
    """Raises GatewayError for a Sentinel or a cluster's node under a plain URL, and the like."""
    backends = settings.backends()
    used: dict[str, object] = {"ledger": backends.ledger} if needs_ledger(methods) else {}
    if needs_main_broker(methods) and not backends.broker_is_ledger:
        used["broker"] = backends.broker
    for name in applications_of(methods):
        application = settings.application(name)
        if name:
            used[application.called("broker")] = application.broker
        used[application.called("result backend")] = application.result_server
    if found := await url_problems(used):
        raise GatewayError("\n".join(found))
