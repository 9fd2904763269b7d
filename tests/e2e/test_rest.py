"""REST and OpenAPI at a real gateway, for methods that run on workers."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from openapi_spec_validator import validate

from tests.e2e.conftest import Gateway, Site
from tests.e2e.web import Web, web_gateway
from tests.echo.running import ROOT
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, forebay_gateway

COMPUTE = "/forebay.compute.v1.ComputeService"
ECHO = "/tests.echo.v1.EchoService"


@pytest.fixture(scope="module")
def web(site: Site) -> Web:
    return web_gateway(site)


def test_a_sum_is_computed_by_post_and_get(web: Web) -> None:
    posted = web.request("POST", "/v1/add", {"x": 1.5, "y": 2})
    assert (posted.status, posted.json) == (200, {"sum": 3.5})
    assert int(posted.headers["trailer-forebay-run-ms"]) >= 0
    assert web.request("GET", "/v1/add?x=0.1&y=0.2").json == {"sum": 0.1 + 0.2}
    assert web.request("GET", "/v1/add?x=NaN").json == {"sum": "NaN"}


def digits(lines: list[Any]) -> str:
    return "".join(line["result"].get("digits", "") for line in lines)


def test_a_factorial_is_a_stream_of_lines(web: Web) -> None:
    found = web.request("GET", "/v1/factorial/30")
    assert found.headers["content-type"] == "application/x-ndjson"
    assert digits(found.lines) == str(math.factorial(30))
    assert digits(web.request("POST", "/v1/factorial", {"n": "30"}).lines) == digits(found.lines)


def test_a_product_takes_its_one_request_in_the_body(web: Web) -> None:
    left = {"rows": "1", "cols": "2", "values": [1, 2]}
    right = {"rows": "2", "cols": "1", "values": [3, 4]}
    found = web.request("POST", "/v1/matmul", {"operands": {"left": left, "right": right}})
    panels = [line["result"]["panel"] for line in found.lines if "panel" in line["result"]]
    assert [panel["values"] for panel in panels] == [[11.0]]


def test_a_call_id_attaches_to_the_same_call(web: Web) -> None:
    first = web.request("POST", "/v1/add", {"x": 1}, forebay_call_id="rest-1")
    again = web.request("POST", "/v1/add", {"x": 1}, forebay_call_id="rest-1")
    assert (first.headers["forebay-attached"], again.headers["forebay-attached"]) == (
        "new",
        "finished",
    )
    other = web.request("POST", "/v1/add", {"x": 2}, forebay_call_id="rest-1")
    assert (other.status, other.json["code"]) == (409, 6)
    assert other.json["details"][0]["reason"] == "CALL_ID_REUSED"


def test_a_request_that_a_check_refuses_is_a_status_of_http(web: Web) -> None:
    found = web.request("GET", "/v1/factorial/99999999999")
    assert (found.status, found.json["code"]) == (400, 11)
    assert found.json["details"][1]["fieldViolations"][0]["field"] == "n"


def test_a_handler_s_own_status_is_passed_on(web: Web) -> None:
    body = {"text": "x", "count": 1, "status": {"code": 5, "message": "not here"}}
    found = web.request("POST", f"{ECHO}/ServerStream", body)
    first, last = found.lines
    assert first["result"]["text"] == "x"
    assert (last["error"]["code"], last["error"]["message"]) == (5, "not here")


def test_what_is_not_bound_is_not_found(web: Web) -> None:
    assert web.request("GET", "/v1/nothing").status == 404
    assert web.request("DELETE", "/v1/add").headers["allow"] == "GET, POST"


def test_operations_have_the_paths_of_their_own_annotations(web: Web) -> None:
    web.request("POST", "/v1/add", {"x": 1}, forebay_call_id="rest-2")
    listed = web.request("GET", "/v1/operations?page_size=1000").json["operations"]
    assert "operations/rest-2" in [one["name"] for one in listed]
    found = web.request("GET", "/v1/operations/rest-2").json
    assert (found["name"], found["done"]) == ("operations/rest-2", True)


def test_the_document_is_valid_and_describes_what_is_served(web: Web) -> None:
    answer = web.request("GET", "/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    document = answer.json
    validate(document)
    paths = document["paths"]
    assert {"post", "get"} == paths["/v1/add"].keys()
    assert paths["/v1/add"]["post"]["summary"] == "Adds two IEEE 754 doubles"
    assert "get" in paths[f"{COMPUTE}/Factorial"]
    assert "post" in paths[f"{ECHO}/ServerStream"]
    assert "post" in paths["/forebay.v1.CallService/ListQueues"]
    assert "get" in paths["/v1/operations/{name}"]
    assert f"{ECHO}/Unrouted" not in paths
    schemas = document["components"]["schemas"]
    assert schemas["forebay.compute.v1.AddRequest"]["properties"]["x"]["description"] == (
        "The first term. Unset: 0."
    )
    assert "- `DATA_TYPE_FLOAT32`: IEEE 754 single precision" in json.dumps(
        schemas["forebay.compute.v1.DataType"]
    )


def test_a_full_gateway_is_429_and_says_when_to_retry(site: Site) -> None:
    """By REST and by Connect; the caller is new, and other callers have all places."""
    env = {**site.env, "FOREBAY_MAX_CALLS": "2"}
    asleep = EchoRequest(act="sleep", seconds=60, count=1)
    options = [("grpc.use_local_subchannel_pool", 1)]  # on loopback, each connection is a caller
    with (
        forebay_gateway("--web-listen", "127.0.0.1:0", env=env, cwd=ROOT) as (gateway, address),
        ExitStack() as callers,
    ):
        web = Web(Gateway(gateway, address), gateway.wait_for(r"browsers on http://(\S+)")[1])
        calls = []
        for _ in range(2):
            channel = callers.enter_context(grpc.insecure_channel(address, options=options))
            calls.append(EchoServiceStub(channel).ServerStream(asleep))
            assert "forebay-attached" in dict(calls[-1].initial_metadata())
        by_rest = web.request("POST", "/v1/add", {"x": 1})
        assert (by_rest.status, by_rest.json["code"]) == (429, 8)
        assert by_rest.json["details"][0]["reason"] == "QUEUE_FULL"
        assert 1 <= int(by_rest.headers["retry-after"]) <= 60
        by_connect = web.request("POST", f"{COMPUTE}/Add", {"x": 1}, connect_protocol_version="1")
        assert (by_connect.status, by_connect.json["code"]) == (429, "resource_exhausted")
        (info,) = (one for one in by_connect.json["details"] if one["type"].endswith("ErrorInfo"))
        value = b64decode(info["value"] + "==")
        assert error_details_pb2.ErrorInfo.FromString(value).reason == "QUEUE_FULL"
        for call in calls:
            call.cancel()
        eventually(lambda: web.request("POST", "/v1/add", {"x": 1}).status == 200, "there is room")


def test_only_the_document_s_method_is_allowed(web: Web) -> None:
    assert web.request("POST", "/openapi.json", {}).status == 405
