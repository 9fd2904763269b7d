"""The HTTP routes of the operators' port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Gets an Accept header; returns the metrics as text, and the content type."""
IsReady = Callable[[], Awaitable[bool]]

HEALTHZ, READYZ, METRICS = "/healthz", "/readyz", "/metrics"
PROCESS, FLEET = "/metrics/process", "/metrics/fleet"
"""The two parts of one process's metrics, which `gather.py` reads."""


def admin_app(scrape: Scrape, is_ready: IsReady, routes: Sequence[BaseRoute] = ()) -> Starlette:
    """The app with `/metrics`, `/healthz`, `/readyz`, and further routes."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        ready = await is_ready()
        return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)

    own = [Route(HEALTHZ, healthz), Route(READYZ, readyz), metrics_route(METRICS, scrape)]
    return Starlette(routes=[*own, *routes])


def metrics_route(path: str, scrape: Scrape) -> Route:
    async def metrics(request: Request) -> Response:
        text, content_type = await scrape(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    return Route(path, metrics)
