"""Serves browsers at the operators' port: the page, and the RPCs that the page makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from forebay.routes import Method
from forebay.routes.descriptor_conflicts import with_dependencies
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.operators_page.files import HEADERS, file_routes
from forebay_gateway.operators_page.read_only import reading
from forebay_gateway.rpc.context import FindHandler
from forebay_gateway.web.application import CONNECT, rpcs
from forebay_gateway.web.exchange import App, Receive, Scope, Send
from forebay_gateway.web.methods import WebMethod, web_methods
from forebay_gateway.web.security import Policy, guarded

OWN_SERVICES = ("google.longrunning.Operations", "forebay.v1.CallService")

ABOUT = "/page.json"
"""The path of the JSON that the page reads before it makes RPCs: see `About`."""

About = Callable[[], Mapping[str, Any]]
"""Returns `authentication`, whether callers need a token, and, for snippets, the address of the
`gateway` and whether it has `tls`. `with_page` adds `readOnly`."""


def with_page(
    app: App,
    methods: Mapping[str, WebMethod],
    limits: FrontLimits,
    policy: Policy,
    about: About,
    *,
    is_read_only: bool,
) -> App:
    """The app, with the page at `/` and the methods by Connect.

    The policy applies to these paths only: probes and scrapers may use any host name.
    """

    async def tell(request: Request) -> Response:
        told = {**about(), "readOnly": is_read_only}
        return JSONResponse(told, headers={**HEADERS, "cache-control": "no-store"})

    routes = [*file_routes(), Route(ABOUT, tell)]
    paths = {*(route.path for route in routes), *methods}
    served = reading(methods) if is_read_only else methods
    page = guarded(rpcs(served, limits, CONNECT, Starlette(routes=routes)), policy)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        is_of_page = scope["type"] == "http" and scope["path"] in paths
        await (page if is_of_page else app)(scope, receive, send)

    return serve


def page_methods(methods: Iterable[Method], find: FindHandler) -> Mapping[str, WebMethod]:
    """The methods that the page calls: of operations and CallService, and those with a route."""
    methods = tuple(methods)
    routed = {method.service: method.pool.FindServiceByName(method.service) for method in methods}
    paths = {method.path for method in methods}
    found = web_methods((*_own_services(methods), *routed.values()), find)
    own = {f"/{name}/" for name in OWN_SERVICES}
    return {
        path: one for path, one in found.items() if path in paths or path.startswith(tuple(own))
    }


def _own_services(methods: Iterable[Method]) -> list[ServiceDescriptor]:
    """The page's services, in a pool that has the messages of all methods: calls contain `Any`."""
    own = [Default().FindServiceByName(name) for name in OWN_SERVICES]
    pools = {id(method.pool): method for method in methods}
    if set(pools) <= {id(Default())}:
        return own
    pool = DescriptorPool()
    roots = [service.file for service in own]
    roots += [method.pool.FindServiceByName(method.service).file for method in methods]
    for file in with_dependencies(roots):
        try:
            pool.AddSerializedFile(file.serialized_pb)
        except TypeError:  # the file conflicts with another: JSON shows its messages as bytes
            continue
    return [pool.FindServiceByName(name) for name in OWN_SERVICES]
