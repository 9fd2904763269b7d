"""A team's own ASGI application, with a gateway in it, as docs/web.md shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forebay_backends.settings import load_settings
from forebay_gateway.asgi import gateway_application


async def hello(request: Request) -> Response:
    return PlainTextResponse("theirs")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with gateway_application(load_settings()) as forebay:
        app.mount("/rpc", forebay)
        yield


app = Starlette(routes=[Route("/hello", hello, methods=["POST"])], lifespan=lifespan)
