"""Ids of calls as arguments: a whole id, or a prefix that only one call's id has."""

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
    """No call has this id or prefix, or several have the prefix. The message starts with it."""


def with_call(gateway: Gateway, given: str, use: Callable[[str], T]) -> T:
    """Calls `use` with the argument; if no call has that id, with the id that starts with it.

    So a whole id is never taken for a prefix. For an unknown call, `use` must raise `grpc.RpcError`
    and have no other effect. Raises NoSuchCall.
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
