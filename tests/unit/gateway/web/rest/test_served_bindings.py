"""Bad bindings are reported when a gateway starts, with the other problems of its routes."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.longrunning import operations_proto_pb2

from forebay.routes import RouteError
from forebay.routes.sources import read_all_methods
from forebay_backends.settings import Settings
from forebay_gateway.server.methods import load_methods
from forebay_gateway.web.rest.served_bindings import own_bindings, routed_bindings
from tests.protoc import descriptor_set

SERVICE = """
syntax = "proto3";
package shop;
import "forebay/v1/route.proto";
import "google/api/annotations.proto";
message Order {{ string id = 1; }}
service Shop {{
  rpc Sell(Order) returns (Order) {{
    option (forebay.v1.route) = {{task: "shop.sell", queue: "{queue}"}};
    option (google.api.http) = {{ {first} }};
  }}
  rpc Buy(Order) returns (Order) {{
    option (forebay.v1.route) = {{task: "shop.buy", queue: "q"}};
    option (google.api.http) = {{ {second} }};
  }}
}}
"""


def written(folder: Path, first: str, second: str, queue: str = "q") -> str:
    return str(descriptor_set(SERVICE.format(first=first, second=second, queue=queue), folder))


def problems(service: str, web_listen: str | None = "127.0.0.1:0") -> list[str]:
    settings = Settings(services=(service,), web_listen=web_listen)
    with pytest.raises(RouteError) as raised:
        load_methods(settings)
    return raised.value.problems


def test_all_problems_come_at_once_with_those_of_routes(tmp_path: Path) -> None:
    service = written(tmp_path, 'get: "/v1/x"', 'post: "v1"', queue="")
    assert [one.partition(" `google.api.http`")[0] for one in problems(service)] == [
        "t.proto: shop.Shop.Sell: the route has no `queue`; set the name of a Celery queue",
        "t.proto: shop.Shop.Sell:",
        "t.proto: shop.Shop.Buy:",
    ]


def test_two_methods_must_not_have_the_same_paths(tmp_path: Path) -> None:
    service = written(tmp_path, 'post: "/v1/{id}" body: "*"', 'post: "/v1/{id=*}"')
    (problem,) = problems(service)
    assert problem == (
        "t.proto: shop.Shop.Buy: `google.api.http` has POST /v1/{id=*}, which matches the paths of "
        "/v1/{id} of shop.Shop.Sell; change one of them"
    )


def test_the_gateway_s_own_paths_are_taken(tmp_path: Path) -> None:
    service = written(tmp_path, 'post: "/openapi.json"', 'post: "/shop.Shop/Sell"')
    assert [one.rpartition("has ")[2] for one in problems(service)] == [
        "/openapi.json, which the gateway itself serves",
        "/shop.Shop/Sell, which the gateway itself serves",
    ]


def test_a_gateway_without_a_web_front_does_not_look_at_bindings(tmp_path: Path) -> None:
    service = written(tmp_path, 'get: "/v1/x"', 'post: "v1"')
    settings = Settings(services=(service,))
    assert len(load_methods(settings)) == 2
    with pytest.raises(RouteError):
        load_methods(settings, serves_http=True)


def test_a_routes_file_may_say_that_a_method_has_no_side_effects(tmp_path: Path) -> None:
    text = SERVICE.format(first='get: "/v1/{id}"', second='post: "/v1/x"', queue="q")
    text = text.replace('option (forebay.v1.route) = {task: "shop.sell", queue: "q"};', "")
    service = str(descriptor_set(text, tmp_path))
    routes = tmp_path / "routes.toml"
    table = '["shop.Shop.Sell"]\ntask = "shop.sell"\nqueue = "q"\n'
    routes.write_text(f'{table}idempotency_level = "NO_SIDE_EFFECTS"\n')
    settings = Settings(services=(service,), routes=routes, web_listen="127.0.0.1:0")
    methods = load_methods(settings)
    assert len(routed_bindings(methods)) == 2
    assert [method.no_side_effects for method in methods] == [True, False]
    routes.write_text(table)
    with pytest.raises(RouteError, match="lets GET call a method that may have side effects"):
        load_methods(settings)


def test_bindings_of_our_own_services_are_served() -> None:
    service = operations_proto_pb2.DESCRIPTOR.services_by_name["Operations"]
    found = own_bindings(service.methods)
    assert ("GET", "/v1/{name=operations/**}") in [
        (one.http_method, one.template.text) for one in found
    ]


def test_the_bindings_of_compute_service_are_those_of_its_proto() -> None:
    methods = read_all_methods(["forebay.compute.v1.compute_pb2"])
    assert len(routed_bindings(methods)) == 5
