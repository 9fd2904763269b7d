"""Which front serves: `native` where ngh2 is installed, else `grpc`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from forebay_gateway.fronts.front import Front
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.rpc.context import FindHandler

Kind = Literal["auto", "native", "grpc"]


class FrontMissing(Exception):
    """The front that was asked for can't run here; the message says what to do."""


def make_front(
    kind: Kind, find: FindHandler, listen: str, limits: FrontLimits, *, reuse_port: bool
) -> Front:
    """The modules of the other front are not imported.

    Raises FrontMissing; OSError or RuntimeError if the address is in use.
    """
    is_installed = find_spec("ngh2") is not None
    if kind == "native" and not is_installed:
        raise FrontMissing(
            "front = native needs the package ngh2, which has no wheel for every system: "
            "install it, or set front to auto"
        )
    if kind == "grpc" or not is_installed:
        from forebay_gateway.fronts.grpc.front import grpc_front

        return grpc_front(find, listen, limits, reuse_port=reuse_port)
    from forebay_gateway.fronts.native.front import NativeFront

    return NativeFront(find, [listen], limits, reuse_port=reuse_port)
