"""A gateway inside of a team's own ASGI application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forebay_backends.settings.load import given_settings
from forebay_gateway.asgi import gateway_application
from tests.e2e.conftest import Site

COMPUTE = "forebay.compute.v1.ComputeService"


async def post(app: Any, path: str, message: object, host: bytes = b"localhost") -> tuple[int, Any]:
    """The status and the JSON of the answer."""
    body = json.dumps(message).encode()
    headers = [(b"host", host), (b"content-type", b"application/json")]
    headers.append((b"content-length", b"%d" % len(body)))
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 5),
    }
    requests = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if requests:
            return requests.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await app(scope, receive, send)
    text = b"".join(event.get("body", b"") for event in sent)
    return sent[0]["status"], json.loads(text) if text.startswith(b"{") else text.decode()


async def hello(request: Request) -> Response:
    return PlainTextResponse("theirs")


async def test_it_serves_calls_below_a_path_of_the_application(site: Site) -> None:
    settings = given_settings(ledger_url=site.url, listen="0.0.0.0:1", insecure=True)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with gateway_application(settings) as forebay:
            app.mount("/rpc", forebay)
            yield

    app = Starlette(routes=[Route("/hello", hello, methods=["POST"])], lifespan=lifespan)
    async with app.router.lifespan_context(app):
        assert await post(app, "/hello", {}) == (200, "theirs")
        assert await post(app, f"/rpc/{COMPUTE}/Add", {"x": 1, "y": 2}) == (200, {"sum": 3.0})
        status, refused = await post(app, "/rpc/google.longrunning.Operations/ListOperations", {})
        assert (status, refused["code"]) == (501, "unimplemented")
        assert (await post(app, f"/rpc/{COMPUTE}/Add", {}, b"evil.example"))[0] == 403
