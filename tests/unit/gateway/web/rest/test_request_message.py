"""Requests made from paths, queries and bodies."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import InvalidRequest
from forebay_gateway.web.rest.request_message import parse_query, request_message
from tests.unit.gateway.web.rest.library import bindings, message


def made(name: str, path: str = "", query: str = "", body: bytes = b"", number: int = 0) -> Any:
    """The JSON of the request that the method's binding makes."""
    request = request_message(
        bindings(name)[number], path[1:].split("/"), parse_query(query.encode()), body
    )
    return json_format.MessageToDict(request, preserving_proto_field_name=True)


def violations(name: str, *args: Any, **kwargs: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as raised:
        made(name, *args, **kwargs)
    return {one.field: one.description for one in raised.value.violations}


def test_the_path_sets_fields() -> None:
    assert made("GetBook", "/v1/shelves/1/books/a%20b") == {"name": "shelves/1/books/a b"}
    assert made("GetBook", "/v1/books/a%2Fb", number=1) == {"name": "a/b"}


def test_the_body_may_be_one_field_and_the_path_wins_over_it() -> None:
    body = b'{"title": "T", "name": "other"}'
    query = "update_mask=title,author.givenName&validateOnly=true"
    assert made("UpdateBook", "/v1/shelves/1/books/2", query, body) == {
        "book": {"name": "shelves/1/books/2", "title": "T"},
        "update_mask": "title,author.givenName",
        "validate_only": True,
    }


def test_the_body_may_be_the_whole_request() -> None:
    body = b'{"title": "T", "pages": "12", "author": {"penName": "P"}}'
    assert made("CreateBook", "/v1/shelves/1", "", body) == {
        "name": "shelves/1",
        "title": "T",
        "pages": "12",
        "author": {"pen_name": "P"},
    }
    assert made("CreateBook", "/v1/shelves/1") == {"name": "shelves/1"}


def test_the_body_may_be_a_repeated_field() -> None:
    assert made("TagBooks", body=b'["a", "b"]', query="all=true") == {
        "tags": ["a", "b"],
        "all": True,
    }


def test_an_empty_message_field_as_body_is_set() -> None:
    binding = bindings("UpdateBook")[0]
    request = request_message(binding, ["v1", "shelves", "1", "books", "2"], {}, b"")
    assert request.HasField("book")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a_double=1.5", {"a_double": 1.5}),
        ("a_double=NaN", {"a_double": "NaN"}),
        ("a_double=-Infinity", {"a_double": "-Infinity"}),
        ("aDouble=2", {"a_double": 2.0}),
        ("a_float=0.5", {"a_float": 0.5}),
        ("an_int32=-7", {"an_int32": -7}),
        ("an_int64=9223372036854775807", {"an_int64": "9223372036854775807"}),
        ("a_uint64=18446744073709551615", {"a_uint64": "18446744073709551615"}),
        ("a_bool=true", {"a_bool": True}),
        ("a_string=a+b%26c", {"a_string": "a b&c"}),
        ("a_string=", {}),
        ("some_bytes=%2B%2F8%3D", {"some_bytes": "+/8="}),
        ("some_bytes=-_8", {"some_bytes": "+/8="}),
        ("genre=GENRE_POEM", {"genre": "GENRE_POEM"}),
        ("genre=2", {"genre": "GENRE_POEM"}),
        ("author.given_name=A", {"author": {"given_name": "A"}}),
        ("author.penName=A", {"author": {"pen_name": "A"}}),
        (
            "author.editor.editor.given_name=A",
            {"author": {"editor": {"editor": {"given_name": "A"}}}},
        ),
        ("numbers=1&numbers=2&numbers=1", {"numbers": [1, 2, 1]}),
        ("words=", {"words": [""]}),
        ("genres=GENRE_NOVEL&genres=2", {"genres": ["GENRE_NOVEL", "GENRE_POEM"]}),
        ("at=2026-01-02T03:04:05Z", {"at": "2026-01-02T03:04:05Z"}),
        ("times=2026-01-02T03:04:05Z", {"times": ["2026-01-02T03:04:05Z"]}),
        ("lasts=1.5s", {"lasts": "1.500s"}),
        ("mask=aDouble,author.givenName", {"mask": "aDouble,author.givenName"}),
        ("wrapped_bool=false", {"wrapped_bool": False}),
        ("wrapped_int64=0", {"wrapped_int64": "0"}),
        ("wrapped_string=", {"wrapped_string": ""}),
        ("wrapped_double=1e3", {"wrapped_double": 1000.0}),
        ("wrapped_bytes=AA==", {"wrapped_bytes": "AA=="}),
        ("by_name=x", {"by_name": "x"}),
        ("maybe=0", {"maybe": 0}),
        ("otherName=x", {"renamed": "x"}),
        ("renamed=x", {"renamed": "x"}),
        ("", {}),
    ],
)
def test_query_parameters_set_fields_of_each_type(query: str, expected: object) -> None:
    assert made("Search", query=query) == expected


@pytest.mark.parametrize(
    ("query", "field", "description"),
    [
        ("nothing=1", "nothing", "is not a parameter: library.v1.Everything has no field 'nothin"),
        ("a_double.x=1", "a_double.x", "is not a parameter: a_double is not a single message"),
        ("author=1", "author", "is a message; give its fields"),
        ("author.editor=x", "author.editor", "is a message"),
        ("authors.given_name=A", "authors.given_name", "authors is not a single message"),
        ("data=x", "data", "is a message"),
        ("anything=1", "anything", "is a message"),
        ("packed=1", "packed", "is a message"),
        ("author.books.title=T", "author.books.title", "author.books is not a single message"),
        ("counts=1", "counts", "is a message"),
        ("counts.x=1", "counts.x", "counts is not a single message"),
        ("an_int32=1&an_int32=2", "an_int32", "is given 2 times; expected once"),
        ("an_int32=x", "an_int32", "is 'x'; expected a value of type int32"),
        ("an_int32=2147483648", "an_int32", "expected a value of type int32"),
        ("an_int32=1.5", "an_int32", "expected a value of type int32"),
        ("an_int32=", "an_int32", "expected a value of type int32"),
        ("a_uint64=-1", "a_uint64", "expected a value of type uint64"),
        ("a_double=x", "a_double", "expected a value of type double"),
        ("a_bool=1", "a_bool", "is '1'; expected true or false"),
        ("wrapped_bool=yes", "wrapped_bool", "expected true or false"),
        ("genre=NOVEL", "genre", "expected one of GENRE_UNSPECIFIED, GENRE_NOVEL, GENRE_POEM"),
        ("at=yesterday", "at", "is 'yesterday'; expected a Timestamp in JSON's form"),
        ("lasts=1", "lasts", "expected a Duration"),
        ("by_name=x&by_number=1", "by_number", "excludes by_name, which is set, too"),
        (".=1", ".", "has no field ''"),
        ("author..given_name=1", "author..given_name", "has no field ''"),
        (".".join(["author", *["editor"] * 40]) + "=1", None, "has over 32 names"),
    ],
)
def test_other_parameters_are_named_with_the_reason(
    query: str, field: str | None, description: str
) -> None:
    found = violations("Search", query=query)
    ((name, text),) = found.items()
    assert field in (None, name)
    assert description in text


def test_values_are_shown_in_part() -> None:
    assert violations("Search", query=f"an_int32={'x' * 200}") == {
        "an_int32": f"is '{'x' * 100}'; expected a value of type int32"
    }
    shown = violations("Search", query="numbers=a&numbers=b&numbers=c&numbers=d")["numbers"]
    assert shown == "is 'a', 'b', 'c'; expected a value of type int32"


def test_one_field_by_both_of_its_names_is_given_twice() -> None:
    assert violations("Search", query="an_int32=1&anInt32=2") == {
        "anInt32": "is given by its other name, too; expected once"
    }


def test_all_bad_parameters_are_named_at_once() -> None:
    assert violations("Search", query="an_int32=x&nothing=1&a_bool=z").keys() == {
        "an_int32",
        "nothing",
        "a_bool",
    }


@pytest.mark.parametrize(
    ("name", "path", "query", "field"),
    [
        ("GetBook", "/v1/shelves/1/books/2", "name=x", "name"),
        ("UpdateBook", "/v1/shelves/1/books/2", "book.title=x", "book.title"),
        ("UpdateBook", "/v1/shelves/1/books/2", "book.name=x", "book.name"),
        ("CreateBook", "/v1/shelves/1", "title=x", "title"),
    ],
)
def test_what_the_path_or_the_body_sets_is_no_parameter(
    name: str, path: str, query: str, field: str
) -> None:
    body = b"{}" if name != "GetBook" else b""
    assert violations(name, path, query, body).keys() == {field}


@pytest.mark.parametrize(
    "body",
    [
        b"[",
        b"1",
        b"null",
        b'{"nothing": 1}',
        b'{"title": 1}',
        b'{"title": "a", "title": "b"}',
        b"\xff",
        b'{"author":' * 200 + b"1" + b"}" * 200,
        b"[" * 100_000,
        b'{"pages": 1e400}',
    ],
)
@pytest.mark.parametrize("name", ["CreateBook", "UpdateBook"])
def test_a_body_that_is_no_json_of_the_message_is_refused(name: str, body: bytes) -> None:
    path = {"CreateBook": "/v1/shelves/1", "UpdateBook": "/v1/shelves/1/books/2"}[name]
    with pytest.raises(InvalidRequest):
        made(name, path, "", body)


@pytest.mark.parametrize(
    "body", [b"", b"[", b'"a"', b"[1]", b"{}", b'["a"], "all": true', b"[" * 100_000]
)
def test_a_body_that_is_no_json_of_the_field_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        made("TagBooks", body=body)


def test_a_body_that_the_binding_does_not_take_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="has a body; this path takes none"):
        made("GetBook", "/v1/shelves/1/books/2", "", b"{}")


def test_a_path_that_is_no_value_of_the_field_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        made("GetBook", "/v1/shelves/1/books/%ff")


@pytest.mark.parametrize("raw", [b"a_string=%ff", "a_string=é".encode(), b"\xff=1"])
def test_a_query_that_is_no_utf_8_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        parse_query(raw)


def test_a_query_has_a_limited_number_of_parameters() -> None:
    with pytest.raises(InvalidRequest, match="over 1000 parameters"):
        parse_query(b"&".join([b"words=a"] * 1001))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "a_double": st.floats(allow_nan=False),
            "an_int32": st.integers(-(2**31), 2**31 - 1),
            "an_int64": st.integers(-(2**63), 2**63 - 1),
            "a_fixed64": st.integers(0, 2**64 - 1),
            "a_bool": st.booleans(),
            "a_string": st.text(),
            "some_bytes": st.binary(),
            "genre": st.integers(0, 2),
            "numbers": st.lists(st.integers(-(2**31), 2**31 - 1)),
            "words": st.lists(st.text()),
        },
    )
)
def test_a_query_of_json_values_gives_the_same_message(fields: dict[str, Any]) -> None:
    sent = message("Everything", **fields)
    pairs = []
    for name, value in json_format.MessageToDict(sent).items():
        values = value if isinstance(value, list) else [value]
        pairs += [(name, one if isinstance(one, str) else json.dumps(one)) for one in values]
    query = parse_query(urlencode(pairs).encode())
    assert request_message(bindings("Search")[0], ["v1", "search"], query, b"") == sent


@given(st.binary(max_size=60))
def test_no_query_makes_it_fail_otherwise(raw: bytes) -> None:
    with suppress(InvalidRequest):
        request_message(bindings("Search")[0], ["v1", "search"], parse_query(raw), b"")
