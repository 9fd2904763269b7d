"""The files of the page, and the headers that they are served with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        # No text becomes HTML: the browser refuses even `innerHTML`.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""https://www.w3.org/TR/CSP3/: scripts and styles are files of this server; nothing else loads."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    # A file may change with the next version of Forebay: browsers ask, and mostly get a 304.
    "cache-control": "no-cache",
}


@dataclass(frozen=True)
class _File:
    body: bytes
    content_type: str
    etag: str


@cache
def _contents() -> Mapping[str, _File]:
    """The files by their paths below the page."""
    static = files(__package__).joinpath("static")
    found = {f"static/{name}": _file(one) for name, one in _below(static, "")}
    return {"": found.pop("static/index.html"), **found}


def file_routes() -> list[Route]:
    """`/` and `/static/…`."""
    return [Route(f"/{path}", _served(one)) for path, one in _contents().items()]


def _served(one: _File):  # type: ignore[no-untyped-def]  # Starlette's own type of endpoints
    headers = {**HEADERS, "etag": one.etag}

    async def serve(request: Request) -> Response:
        if request.headers.get("if-none-match") == one.etag:
            return Response(status_code=304, headers=headers)
        return Response(one.body, media_type=one.content_type, headers=headers)

    return serve


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for one in sorted(folder.iterdir(), key=lambda each: each.name):
        if one.is_dir():
            yield from _below(one, f"{prefix}{one.name}/")
        else:
            yield f"{prefix}{one.name}", one


def _file(one: Traversable) -> _File:
    body = one.read_bytes()
    content_type = _TYPES[one.name.rpartition(".")[2]]
    return _File(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
