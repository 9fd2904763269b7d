"""The handlers of a gateway: routed methods, its own services, and one for unknown paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from forebay.errors import MethodUnknown
from forebay.routes import Method
from forebay_gateway.admin.descriptions import Descriptions
from forebay_gateway.admin.services import SERVICES, AdminServices
from forebay_gateway.admin.who_am_i import WhoAmI
from forebay_gateway.identity.requirements import MayCall
from forebay_gateway.rpc.context import Context, FindHandler, Handler
from forebay_gateway.rpc.message_reads import MessageReads
from forebay_gateway.rpc.status import abort
from forebay_gateway.scaling.external_scaler import SERVICE as SCALER_SERVICE
from forebay_gateway.scaling.external_scaler import ExternalScaler
from forebay_gateway.server.call_handler import CallHandler
from forebay_gateway.server.health import SERVICE as HEALTH_SERVICE
from forebay_gateway.server.health import HealthService
from forebay_gateway.server.own_services import bounded
from forebay_gateway.server.reflection import reflection_methods


@dataclass(frozen=True)
class OwnServices:
    """The gateway's own services that all its ports have."""

    health: HealthService
    admin: AdminServices | None
    """None without a ledger."""
    who_am_i: WhoAmI
    descriptions: Descriptions
    reads: MessageReads
    """Bounds the memory of requests to these services."""


def own_handlers(
    methods: Sequence[Method],
    services: OwnServices,
    may_call: MayCall,
    scaler: ExternalScaler | None = None,
) -> dict[str, Handler]:
    """The handlers of the gateway's own services, by path.

    `scaler` is given only for the operators' port, where the admin services are always open.
    Reflection shows callers what they `may_call`.
    """
    for_operators = scaler is not None
    health, admin = services.health, services.admin
    admin_services = () if admin is None else SERVICES if for_operators else admin.services
    operators_services = () if scaler is None else (SCALER_SERVICE,)
    own = {
        **({} if scaler is None else scaler.own_methods()),
        **({} if admin is None else admin.own_methods(for_operators=for_operators)),
        **services.who_am_i.own_methods(),
        **services.descriptions.own_methods(),
        **health.own_methods(),
        **reflection_methods(
            methods, (*admin_services, *operators_services, HEALTH_SERVICE), may_call
        ),
    }
    return {path: bounded(method, services.reads) for path, method in own.items()}


Wrap = Callable[[Handler, str], Handler]
"""Wraps a handler; gets its path too, which is empty if the path is not served."""


def find_handler(
    methods: Sequence[Method],
    call_handler: CallHandler,
    own: Mapping[str, Handler],
    wraps: Sequence[Wrap] = (),
) -> FindHandler:
    """Finds the handler of a path: of a routed method, or of the gateway's own services.

    Every handler is wrapped by each of `wraps` in order, so the last one is the outermost.
    """

    def wrapped(handler: Handler, path: str) -> Handler:
        for wrap in wraps:
            handler = wrap(handler, path)
        return handler

    routed = {method.path: call_handler.handler(method) for method in methods}
    handlers = {path: wrapped(handler, path) for path, handler in {**own, **routed}.items()}

    def find(path: str) -> Handler:
        return handlers.get(path) or wrapped(_unknown(path), "")

    return find


def _unknown(path: str) -> Handler:
    async def refuse(context: Context) -> None:
        await abort(context, MethodUnknown(f"{path} is not served here"))

    return Handler(refuse, streams_responses=True)
