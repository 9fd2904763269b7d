"""Timeouts and socket options of all connections to a ledger's server."""

from __future__ import annotations

from typing import Any

CONNECT_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 5.0
"""How long a command may take, from sending it to its reply."""


def connection_options(url: str) -> dict[str, Any]:
    """redis-py's options for connections to the URL."""
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_timeout": COMMAND_TIMEOUT_S,
        "socket_read_size": 256 << 10,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    return options
