"""Which methods change nothing, so that a page that is read-only may call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

from forebay.errors import PermissionDenied
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.rpc.status import abort
from forebay_gateway.web.methods import WebMethod

_OPERATIONS, _CALLS = "/google.longrunning.Operations/", "/forebay.v1.CallService/"
_READING = {f"{_OPERATIONS}{name}" for name in ("GetOperation", "ListOperations", "WaitOperation")}


def changes_nothing(method: WebMethod) -> bool:
    """Whether a call changes nothing. A call of a routed method always takes a worker's slot."""
    return method.path in _READING or (method.path.startswith(_CALLS) and method.no_side_effects)


def reading(methods: Mapping[str, WebMethod]) -> Mapping[str, WebMethod]:
    """The methods; those that may change something refuse every caller."""
    return {
        path: method if changes_nothing(method) else replace(method, handler=_refusing(method))
        for path, method in methods.items()
    }


def _refusing(method: WebMethod) -> Handler:
    name = method.path.strip("/").replace("/", ".")

    async def refuse(context: Context) -> NoReturn:
        await abort(context, PermissionDenied(f"the page is read-only, so {name} is refused here"))

    return Handler(refuse, method.server_streaming)
