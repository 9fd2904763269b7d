"""The JSON of responses, and of one field of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import wrappers_pb2

from forebay.errors import InternalFault
from forebay_gateway.web.rest.response_json import response_json
from tests.unit.gateway.web.rest.library import message


def written(response_body: str, **fields: Any) -> Any:
    response = message("Everything", **fields)
    return json.loads(response_json(response.SerializeToString(), type(response), response_body))


@pytest.mark.parametrize(
    ("response_body", "fields", "expected"),
    [
        ("", {"an_int64": 5}, {"anInt64": "5"}),
        ("an_int64", {"an_int64": 5}, "5"),
        ("an_int64", {}, "0"),
        ("a_bool", {}, False),
        ("genre", {}, "GENRE_UNSPECIFIED"),
        ("words", {"words": ["a"]}, ["a"]),
        ("words", {}, []),
        ("counts", {}, {}),
        ("counts", {"counts": {"a": 1}}, {"a": 1}),
        ("author", {"author": {"given_name": "A"}}, {"givenName": "A"}),
        ("author", {}, {}),
        ("maybe", {}, None),
        ("by_name", {}, None),
        ("renamed", {"renamed": "x"}, "x"),
        ("a_double", {"a_double": float("nan")}, "NaN"),
    ],
)
def test_the_whole_response_or_one_field_is_written(
    response_body: str, fields: dict[str, Any], expected: Any
) -> None:
    assert written(response_body, **fields) == expected


@pytest.mark.parametrize("response_body", ["", "packed"])
def test_a_response_with_an_unknown_type_can_not_be_written(response_body: str) -> None:
    unknown = {"type_url": "type.googleapis.com/no.such.Type", "value": b"x"}
    with pytest.raises(InternalFault, match="can't be written as JSON"):
        written(response_body, packed=unknown)


def test_what_is_no_message_can_not_be_written() -> None:
    with pytest.raises(InternalFault, match="can't be written as JSON"):
        response_json(b"\xff", wrappers_pb2.StringValue, "")
