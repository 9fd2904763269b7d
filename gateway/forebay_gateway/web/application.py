"""The ASGI application of the web front."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.web.connect.stream import ConnectStream
from forebay_gateway.web.connect.unary import ConnectUnary
from forebay_gateway.web.exchange import App, Exchange, Receive, Scope, Send
from forebay_gateway.web.grpc_web.protocol import GrpcWeb
from forebay_gateway.web.methods import WebMethod
from forebay_gateway.web.protocol import Protocol
from forebay_gateway.web.security import Policy, guarded

CONNECT: tuple[Protocol, ...] = (ConnectUnary(), ConnectStream())
CONNECT_AND_GRPC_WEB: tuple[Protocol, ...] = (*CONNECT, GrpcWeb())

_PREFLIGHT_S = 2 * 3600
"""How long browsers remember what they may send; none remembers it for longer."""


def application(
    methods: Mapping[str, WebMethod],
    limits: FrontLimits,
    policy: Policy,
    *,
    protocols: Sequence[Protocol] = CONNECT_AND_GRPC_WEB,
    routes: Sequence[BaseRoute] = (),
    http_methods: Collection[str] = ("GET", "POST"),
) -> App:
    """Serves the methods, and further routes, to those that the policy lets in.

    The first of `protocols` that takes a request serves it. `methods` are by path (`web_methods`).
    `http_methods` are those that pages of other origins may use. It may be mounted anywhere in
    another ASGI application.
    """
    app: App = rpcs(methods, limits, protocols, Starlette(routes=list(routes)))
    if policy.origins:
        app = CORSMiddleware(
            app,
            allow_origins=policy.origins,
            allow_methods=sorted(http_methods),
            allow_headers=("*",),
            expose_headers=("*", "grpc-status", "grpc-message", "grpc-status-details-bin"),
            max_age=_PREFLIGHT_S,
        )
    return guarded(app, policy)


def rpcs(
    methods: Mapping[str, WebMethod],
    limits: FrontLimits,
    protocols: Sequence[Protocol] = CONNECT_AND_GRPC_WEB,
    otherwise: App | None = None,
) -> App:
    """Serves the methods' paths by the protocols; `otherwise` serves other paths."""
    fallback = otherwise or Starlette()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        method = methods.get(_path(scope)) if scope["type"] == "http" else None
        if method is None:
            await fallback(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        for protocol in protocols:
            if protocol.takes(exchange, method):
                await protocol.serve(exchange, method, limits)
                return
        await _refuse(exchange, method, protocols)

    return serve


def _path(scope: Scope) -> str:
    """The path below the place where the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


async def _refuse(exchange: Exchange, method: WebMethod, protocols: Sequence[Protocol]) -> None:
    if exchange.method != "POST":
        allowed = b"GET, POST" if method.no_side_effects else b"POST"
        await exchange.respond(405, [(b"allow", allowed)])
        return
    types = ", ".join(kind for protocol in protocols for kind in protocol.content_types)
    text = f"{method.path} takes a POST with one of these content types: {types}\n"
    headers = [(b"content-type", b"text/plain"), (b"accept-post", types.encode())]
    await exchange.respond(415, headers, text.encode())
