"""Errors that keep a gateway from starting."""

from __future__ import annotations


class GatewayError(RuntimeError):
    """The gateway can't start; the message says why and what to do."""


def address_in_use(listen: str, option: str = "--listen") -> GatewayError:
    return GatewayError(
        f"can't listen on {listen}: is another gateway there? "
        f"Choose another address with {option} HOST:PORT"
    )
