"""Templates as paths of OpenAPI."""

from __future__ import annotations

import pytest

from forebay_gateway.web.openapi.paths import openapi_path
from forebay_gateway.web.rest.path_template import parse_template


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("/v1/books", "/v1/books", {}),
        ("/v1/books:list", "/v1/books:list", {}),
        ("/v1/{name}", "/v1/{name}", {"name": "whole"}),
        ("/v1/{a.b}:go", "/v1/{a.b}:go", {"a.b": "whole"}),
        ("/v1/{name=shelves/*}", "/v1/shelves/{name}", {"name": "part"}),
        (
            "/v1/{name=shelves/*/books/*}/x",
            "/v1/shelves/{name_1}/books/{name_2}/x",
            {"name_1": "part", "name_2": "part"},
        ),
        ("/v1/{name=**}", "/v1/{name}", {"name": "whole rest"}),
        ("/v1/{name=operations/**}", "/v1/operations/{name}", {"name": "part rest"}),
        (
            "/v1/*/x/**",
            "/v1/{segment_2}/x/{segment_4}",
            {"segment_2": "part", "segment_4": "part rest"},
        ),
        ("/v1/{name=fixed}", "/v1/fixed", {}),
        ("/a%20b/{x}", "/a%20b/{x}", {"x": "whole"}),
    ],
)
def test_paths_have_a_parameter_for_each_wildcard(
    template: str, path: str, parameters: dict[str, str]
) -> None:
    found, found_parameters = openapi_path(parse_template(template))
    assert found == path
    assert {
        one.name: ("whole" if one.is_whole else "part") + (" rest" if one.takes_rest else "")
        for one in found_parameters
    } == parameters
