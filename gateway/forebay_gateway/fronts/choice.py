"""Chooses the front: with `auto`, `native` if it can serve, else `grpc`."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from forebay_gateway.fronts.front import Front
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.rpc.context import FindHandler

if TYPE_CHECKING:
    from forebay_gateway.tls.server_tls import ServerTls

Kind = Literal["auto", "native", "grpc"]

_ONLY_GRPC = ("unix-abstract:", "vsock:")
"""Addresses that the native front does not listen on."""

_log = logging.getLogger(__name__)


class FrontMissing(Exception):
    """The front that was asked for can't run here; the message says what to do."""


def make_front(
    kind: Kind,
    find: FindHandler,
    listen: str,
    limits: FrontLimits,
    *,
    reuse_port: bool,
    tls: ServerTls | None = None,
) -> Front:
    """Makes the front; without `tls`, it serves plain text.

    Raises FrontMissing; OSError or RuntimeError if the address is in use.
    """
    if kind == "grpc" or not _native_can_serve(kind, listen):
        from forebay_gateway.fronts.grpc.front import grpc_front

        return grpc_front(find, listen, limits, reuse_port=reuse_port, tls=tls)
    from forebay_gateway.fronts.native.front import NativeFront

    return NativeFront(find, [listen], limits, reuse_port=reuse_port, tls=tls)


def _native_can_serve(kind: Kind, listen: str) -> bool:
    obstacle = _obstacle_to_native(listen)
    if obstacle is None:
        return True
    if kind == "native":
        raise FrontMissing(f"front = native: {obstacle}; set front to auto or grpc")
    _log.warning(
        "serving by grpc.aio, with fewer calls a second than the native front: %s "
        "(no warning with front = grpc)",
        obstacle,
    )
    return False


def _obstacle_to_native(listen: str) -> str | None:
    if listen.startswith(_ONLY_GRPC):
        return f"it does not listen on {listen}"
    try:
        import_module("forebay_gateway.fronts.native.http2")
    except ImportError as error:  # missing, or of another version
        return f"the package ngh2 can't be used ({error})"
    return None
