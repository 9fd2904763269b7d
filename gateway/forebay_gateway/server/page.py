"""Adds the operators' page to the operators' port, as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from forebay.routes import Method
from forebay_backends.settings import Settings
from forebay_gateway.fronts.limits import front_limits
from forebay_gateway.operators_page.application import page_methods, with_page
from forebay_gateway.rpc.context import FindHandler
from forebay_gateway.web.exchange import App
from forebay_gateway.web.security import Policy

_MAX_CONNECTIONS, _MAX_CALLS = 100, 100


def with_operators_page(
    app: App,
    settings: Settings,
    methods: Sequence[Method],
    find: FindHandler,
    address: Callable[[], str],
) -> App:
    """The app of the operators' port, with the page; `address` is that of the gateway."""
    return with_page(
        app,
        page_methods(methods, find),
        front_limits(settings.max_message_bytes, _MAX_CONNECTIONS, _MAX_CALLS),
        Policy(
            frozenset(settings.page_hosts),
            hosts_setting="page_hosts",
            origins_setting="this server's own, as its Host header names it",
        ),
        lambda: {
            "authentication": settings.auth.is_on,
            "gateway": address(),
            "tls": settings.tls is not None,
        },
        is_read_only=settings.page == "read-only",
    )
