"""A gateway inside of a team's own ASGI application."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.e2e.conftest import Site
from tests.e2e.mounted_app import app

COMPUTE = "forebay.compute.v1.ComputeService"


async def post(path: str, message: object, host: bytes = b"localhost") -> tuple[int, Any]:
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


async def test_it_serves_calls_below_a_path_of_the_application(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_LEDGER_URL", site.url)
    async with app.router.lifespan_context(app):
        assert await post("/hello", {}) == (200, "theirs")
        assert await post(f"/rpc/{COMPUTE}/Add", {"x": 1, "y": 2}) == (200, {"sum": 3.0})
        status, refused = await post("/rpc/google.longrunning.Operations/ListOperations", {})
        assert (status, refused["code"]) == (501, "unimplemented")
        assert (await post(f"/rpc/{COMPUTE}/Add", {}, b"evil.example"))[0] == 403
