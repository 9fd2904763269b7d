"""`/openapi.json`: each caller sees the methods that it may call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from forebay.errors import Unauthenticated
from forebay_gateway.identity.principal import NOBODY, Principal
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.rpc.context_wrapper import ContextWrapper
from forebay_gateway.rpc.status import abort
from forebay_gateway.web.openapi.document import ServedMethod
from forebay_gateway.web.openapi.endpoint import DocumentEndpoint, OpenApi
from forebay_gateway.web.rest.bindings import has_no_side_effects, read_bindings
from tests.protoc import descriptor_set
from tests.unit.gateway.web.asgi import LIMITS, Response, call
from tests.unit.gateway.web.rest.library import LIBRARY, library


class _Known(ContextWrapper):
    """The context of a caller that the guard knows."""

    __slots__ = ("_principal",)

    def __init__(self, context: Context, principal: Principal) -> None:
        super().__init__(context)
        self._principal = principal

    @property
    def principal(self) -> Principal:
        return self._principal


def served() -> list[ServedMethod]:
    found = []
    for rpc in library().services_by_name["Library"].methods:
        may_get = has_no_side_effects(rpc)
        found.append(ServedMethod(rpc, read_bindings(rpc, may_get=may_get).bindings, may_get))
    return found


def openapi(
    may_call: Callable[[Principal, str], bool] = lambda principal, path: True,
    services: tuple[str, ...] = (),
) -> OpenApi:
    return OpenApi(served, services, may_call, has_authentication=True)


def known(handler: Handler, principal: Principal) -> Handler:
    async def serve(context: Context) -> bytes | None:
        return await handler.serve(_Known(context, principal))

    return Handler(serve, streams_responses=False)


async def get(handler: Handler, *headers: tuple[str, str], method: str = "GET") -> Response:
    return await call(DocumentEndpoint(handler, LIMITS), method, "/openapi.json", headers)


async def test_the_document_has_what_the_caller_may_call() -> None:
    reader = Principal(subject="reader")

    def may_call(principal: Principal, path: str) -> bool:
        return principal is reader and path.endswith("/GetBook")

    made = openapi(may_call)
    of_reader = await get(known(made.handler, reader))
    assert (of_reader.status, of_reader.headers["content-type"]) == (200, "application/json")
    assert of_reader.json["paths"].keys() == {
        "/v1/shelves/{name_1}/books/{name_2}",
        "/v1/books/{name}",
    }
    assert "library.v1.Everything" not in of_reader.json["components"]["schemas"]
    of_nobody = await get(known(made.handler, NOBODY))
    assert of_nobody.json["paths"] == {}


async def test_a_caller_that_is_refused_gets_a_status() -> None:
    async def refuse(context: Context) -> None:
        await abort(context, Unauthenticated("no token"))

    response = await get(Handler(refuse, streams_responses=False))
    assert (response.status, response.json["code"]) == (401, 16)


async def test_other_http_methods_are_not_allowed() -> None:
    response = await get(openapi().handler, method="POST")
    assert (response.status, response.headers["allow"]) == (405, "GET")


async def test_a_large_document_is_compressed() -> None:
    response = await get(openapi().handler, ("accept-encoding", "gzip"))
    assert response.headers["content-encoding"] == "gzip"


async def test_comments_come_from_the_descriptor_sets_of_the_settings(tmp_path: Path) -> None:
    packed = descriptor_set(LIBRARY.read_text(), tmp_path, include_source_info=True)
    response = await get(openapi(services=(str(packed), "forebay.compute.v1.compute_pb2")).handler)
    assert response.json["components"]["schemas"]["library.v1.Book"]["description"] == "A book."


async def test_a_descriptor_set_that_is_gone_leaves_the_document_without_its_comments(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    response = await get(openapi(services=(str(tmp_path / "gone.binpb"),)).handler)
    assert response.status == 200
    assert "its comments are missing in /openapi.json" in caplog.text


async def test_services_of_grpc_itself_are_not_listed() -> None:
    rpc = health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name["Check"]
    made = OpenApi(
        lambda: [ServedMethod(rpc)], (), lambda principal, path: True, has_authentication=False
    )
    assert (await get(made.handler)).json["paths"] == {}
