"""What the web front of a gateway serves: services, bindings to HTTP, and the document of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import Default

from forebay.routes import Method
from forebay_backends.settings import Settings
from forebay_gateway.identity.requirements import MayCall
from forebay_gateway.rpc.context import Handler
from forebay_gateway.web.openapi.document import ServedMethod
from forebay_gateway.web.openapi.endpoint import OpenApi
from forebay_gateway.web.rest.bindings import Binding, has_no_side_effects
from forebay_gateway.web.rest.served_bindings import (
    OPENAPI_PATH,
    own_bindings,
    routed_bindings,
)


def services_of(methods: Sequence[Method], own: Iterable[str]) -> list[ServiceDescriptor]:
    """The services of the routed methods, then the gateway's own; `own` are paths of methods."""
    routed = {method.service: method.pool.FindServiceByName(method.service) for method in methods}
    return [*routed.values(), *_own_services(own)]


def bindings_of(methods: Sequence[Method], own: Iterable[str]) -> list[Binding]:
    """The bindings of the routed methods, then those of the gateway's own services."""
    return [*routed_bindings(methods), *own_bindings(_own_rpcs(own))]


def openapi_handlers(
    settings: Settings, methods: Sequence[Method], own: Iterable[str], may_call: MayCall
) -> dict[str, Handler]:
    """The handler of `/openapi.json`, by its path."""
    own = list(own)
    openapi = OpenApi(
        lambda: list(_served(methods, own)),
        settings.services,
        may_call,
        has_authentication=settings.auth.is_on,
    )
    return {OPENAPI_PATH: openapi.handler}


def _served(methods: Sequence[Method], own: Iterable[str]) -> Iterator[ServedMethod]:
    for method in methods:
        yield ServedMethod(
            method.descriptor,
            routed_bindings([method]),
            may_get=method.no_side_effects,
            is_resumable=not method.is_plain,
        )
    for rpc in _own_rpcs(own):
        yield ServedMethod(rpc, own_bindings([rpc]), may_get=has_no_side_effects(rpc))


def _own_rpcs(own: Iterable[str]) -> Iterator[MethodDescriptor]:
    paths = set(own)
    for service in _own_services(paths):
        for rpc in service.methods:
            if f"/{service.full_name}/{rpc.name}" in paths:
                yield rpc


def _own_services(own: Iterable[str]) -> Iterator[ServiceDescriptor]:
    for name in sorted({path.split("/")[1] for path in own}):
        try:
            yield Default().FindServiceByName(name)
        except KeyError:
            continue  # /openapi.json; and grpc.reflection.v1, which takes streams of requests
