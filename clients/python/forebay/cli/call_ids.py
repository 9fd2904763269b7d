"""Ids of calls as arguments: a whole one, or the start of one if no other call's id starts so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click
import grpc

from forebay.cli.gateway import Gateway
from forebay.errors import CallUnknown
from forebay.rpc_errors import of_rpc_error

T = TypeVar("T")

_SHOWN_IDS = 5


class NoSuchCall(click.ClickException):
    """No call has the id or starts with it, or several do; the message starts with the argument."""


def with_call(gateway: Gateway, given: str, use: Callable[[str], T]) -> T:
    """Calls `use` with the argument and, if there is no such call, with the id that it starts.

    So a whole id is never taken for the start of another. If the call is unknown, `use` must have
    no effect but `grpc.RpcError`.
    """
    try:
        return use(given)
    except grpc.RpcError as error:
        unknown = of_rpc_error(error)
        if not isinstance(unknown, CallUnknown):
            raise
    found = gateway.ids_starting_with(given, _SHOWN_IDS + 1)
    if len(found) == 1:
        return use(found[0])
    if not found:
        raise NoSuchCall(f"{given}: {unknown}")
    shown = ", ".join(found[:_SHOWN_IDS]) + (", …" if len(found) > _SHOWN_IDS else "")
    raise NoSuchCall(f"{given}: several calls have an id that starts so: {shown}")
