"""Which methods a GET may call."""

from __future__ import annotations

from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.web.methods import web_methods
from forebay_gateway.web.rest.one_request import one_request
from tests.unit.gateway.web.rest.library import library

SERVICE = library().services_by_name["Library"]
CREATE, GET = "/library.v1.Library/CreateBook", "/library.v1.Library/GetBook"


async def serve(context: Context) -> None: ...


def find(path: str) -> Handler:
    return Handler(serve, streams_responses=False)


def test_a_method_is_safe_by_its_option_or_by_what_the_gateway_knows() -> None:
    assert web_methods([SERVICE], find)[GET].no_side_effects
    assert not web_methods([SERVICE], find)[CREATE].no_side_effects
    known = web_methods([SERVICE], find, {CREATE})[CREATE]
    assert known.no_side_effects
    assert one_request(known).no_side_effects
