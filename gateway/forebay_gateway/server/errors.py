"""Why a gateway can't start."""

from __future__ import annotations


class GatewayError(RuntimeError):
    """The gateway can't start; the message says why and what to do."""


def cannot_listen(listen: str) -> GatewayError:
    """The error for an address that can't be had."""
    return GatewayError(
        f"can't listen on {listen}: is another gateway there? "
        "Choose another address with --listen HOST:PORT"
    )
