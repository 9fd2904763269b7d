"""Errors that keep a gateway from starting."""

from __future__ import annotations


class GatewayError(RuntimeError):
    """The gateway can't start; the message says why and what to do."""


def address_in_use(listen: str) -> GatewayError:
    return GatewayError(
        f"can't listen on {listen}: is another gateway there? "
        "Choose another address with --listen HOST:PORT"
    )
