"""OpenAPI documents: valid for OpenAPI's own schema, and true for protobuf's JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from forebay.compute.v1 import compute_pb2
from forebay_gateway.web.openapi.document import About, Document, ServedMethod, document
from forebay_gateway.web.rest.bindings import has_no_side_effects, read_bindings
from tests.unit.gateway.web.rest.library import compiled, library, message

ABOUT = About("Library", "1.2", comments={"library.v1.Book": "A book.", "library.v1.Library": "L."})


def served(service: Any) -> list[ServedMethod]:
    found = []
    for rpc in service.methods:
        may_get = has_no_side_effects(rpc)
        bindings = read_bindings(rpc, may_get=may_get).bindings
        found.append(ServedMethod(rpc, bindings, may_get=may_get, is_resumable=True))
    return found


def of_library(about: About = ABOUT) -> Document:
    return document(served(library().services_by_name["Library"]), about)


def test_the_document_is_valid() -> None:
    services = (
        library().services_by_name["Library"],
        *compute_pb2.DESCRIPTOR.services_by_name.values(),
    )
    methods = [method for service in services for method in served(service)]
    validate(document(methods, About("Library", "1", has_authentication=True)))
    validate(document([], ABOUT))


def test_the_document_is_json() -> None:
    assert json.loads(json.dumps(of_library())) == of_library()


def test_each_binding_has_an_operation_and_methods_without_one_their_own_path() -> None:
    assert {
        f"{http_method.upper()} {path}": operation["operationId"]
        for path, at_path in of_library()["paths"].items()
        for http_method, operation in at_path.items()
    } == {
        "GET /v1/shelves/{name_1}/books/{name_2}": "Library_GetBook",
        "GET /v1/books/{name}": "Library_GetBook_2",
        "GET /v1/shelves/{parent}/books": "Library_ListBooks",
        "PATCH /v1/shelves/{book.name_1}/books/{book.name_2}": "Library_UpdateBook",
        "POST /v1/shelves/{name}": "Library_CreateBook",
        "POST /v1/books:tag": "Library_TagBooks",
        "DELETE /v1/shelves/{name_1}/books/{name_2}": "Library_DeleteBook",
        "POST /v1/shelves/{name_1}/books/{name_2}:lock": "Library_LockBook_2",
        "GET /v1/search": "Library_Search",
        "GET /library.v1.Library/Search": "Library_Search_events",
        "POST /library.v1.Library/Unbound": "Library_Unbound",
    }


def operation(document: Document, http_method: str, path: str) -> Any:
    return document["paths"][path][http_method]


def test_parameters_are_those_of_the_path_and_the_other_fields() -> None:
    update = operation(of_library(), "patch", "/v1/shelves/{book.name_1}/books/{book.name_2}")
    assert [(one["name"], one["in"]) for one in update["parameters"]] == [
        ("book.name_1", "path"),
        ("book.name_2", "path"),
        ("updateMask", "query"),
        ("validateOnly", "query"),
    ]
    body = update["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"] == "#/components/schemas/library.v1.Book"


def test_nested_fields_are_parameters_and_recursion_ends() -> None:
    search = operation(of_library(), "get", "/v1/search")
    names = [one["name"] for one in search["parameters"]]
    assert "author.givenName" in names
    assert "author.penName" in names
    assert "otherName" in names
    assert not any(
        name.startswith(("author.editor", "authors", "data", "counts")) for name in names
    )


def test_a_response_may_be_one_field() -> None:
    found = operation(of_library(), "get", "/v1/shelves/{parent}/books")["responses"]["200"]
    schema = found["content"]["application/json"]["schema"]
    assert schema == {"type": "array", "items": {"$ref": "#/components/schemas/library.v1.Book"}}


def test_a_stream_is_lines_or_events() -> None:
    content = operation(of_library(), "get", "/v1/search")["responses"]["200"]["content"]
    assert content.keys() == {"application/x-ndjson", "text/event-stream"}
    assert content["application/x-ndjson"]["schema"]["properties"].keys() == {"result", "error"}


def test_errors_are_of_the_kind_that_the_path_has() -> None:
    def error(http_method: str, path: str) -> str:
        found = operation(of_library(), http_method, path)["responses"]["default"]
        return str(found["content"]["application/json"]["schema"]["$ref"]).rpartition("/")[2]

    assert error("get", "/v1/search") == "google.rpc.Status"
    assert error("post", "/library.v1.Library/Unbound") == "connect.Error"


def test_authentication_is_mentioned_where_it_is_on() -> None:
    assert "security" not in of_library()
    found = of_library(About("Library", "1", has_authentication=True))
    assert found["security"] == [{"bearer": []}]


def test_services_of_one_name_have_different_operations() -> None:
    other = compiled(
        'syntax = "proto3"; package other; message M {} '
        "service Library { rpc Unbound(M) returns (M); }"
    )
    methods = [
        *served(library().services_by_name["Library"]),
        *served(other.services_by_name["Library"]),
    ]
    found = document(methods, ABOUT)
    ids = [one["operationId"] for at in found["paths"].values() for one in at.values()]
    assert {"library_v1_Library_Unbound", "other_Library_Unbound", "Library_Search"} <= set(ids)


def test_fields_that_are_required_deprecated_or_only_read_are_marked() -> None:
    file = compiled("""
        syntax = "proto2"; package marked;
        message M {
          required string a = 1;
          optional string b = 2 [deprecated = true];
        }
        service S { rpc Do(M) returns (M) { option deprecated = true; } }
    """)
    found = document(served(file.services_by_name["S"]), ABOUT)
    schema = found["components"]["schemas"]["marked.M"]
    assert schema["required"] == ["a"]
    assert schema["properties"]["b"]["deprecated"] is True
    assert operation(found, "post", "/marked.S/Do")["deprecated"] is True


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "a_double": st.floats(),
    "a_float": st.floats(width=32),
    "an_int32": st.integers(-(2**31), 2**31 - 1),
    "an_int64": st.integers(-(2**63), 2**63 - 1),
    "a_uint32": st.integers(0, 2**32 - 1),
    "a_uint64": st.integers(0, 2**64 - 1),
    "a_bool": st.booleans(),
    "a_string": st.text(),
    "some_bytes": st.binary(),
    "genre": st.integers(0, 2),
    "author": st.fixed_dictionaries({"given_name": st.text()}),
    "numbers": st.lists(st.integers(-(2**31), 2**31 - 1)),
    "authors": st.lists(st.fixed_dictionaries({"given_name": st.text()})),
    "counts": st.dictionaries(st.text(), st.integers(0, 9)),
    "by_id": st.dictionaries(
        st.integers(0, 9), st.sampled_from([message("Author", given_name="A")])
    ),
    "at": st.fixed_dictionaries(
        {"seconds": st.integers(0, 10**9), "nanos": st.integers(0, 10**9 - 1)}
    ),
    "lasts": st.fixed_dictionaries(
        {"seconds": st.integers(0, 10**9), "nanos": st.integers(0, 10**9 - 1)}
    ),
    "wrapped_int64": st.fixed_dictionaries({"value": st.integers(0, 2**63 - 1)}),
    "wrapped_double": st.fixed_dictionaries({"value": st.floats()}),
    "wrapped_bytes": st.fixed_dictionaries({"value": st.binary()}),
    "data": st.sampled_from([{"fields": {"a": {"number_value": 1}}}]),
    "anything": st.sampled_from([{"number_value": 1}, {"string_value": "a"}, {"null_value": 0}]),
    "list": st.sampled_from([{"values": [{"bool_value": True}]}]),
    "null_value": st.just(0),
    "maybe": st.integers(0, 9),
    "by_name": st.text(),
}


@settings(max_examples=40)
@given(st.fixed_dictionaries({}, optional=SCALARS))
def test_the_json_of_any_message_is_valid_for_its_schema(fields: dict[str, Any]) -> None:
    schema = {
        **DOCUMENT["components"]["schemas"]["library.v1.Everything"],
        "components": DOCUMENT["components"],
        "additionalProperties": False,
    }
    written = json_format.MessageToDict(message("Everything", **fields))
    Draft202012Validator(schema).validate(written)


@pytest.mark.parametrize(
    "wrong",
    [
        {"aDouble": "1"},
        {"anInt64": 1},
        {"genre": "NOVEL"},
        {"numbers": 1},
        {"author": "A"},
        {"lasts": "1"},
        {"counts": {"a": "x"}},
    ],
)
def test_other_json_is_not_valid(wrong: dict[str, Any]) -> None:
    schema = {
        **DOCUMENT["components"]["schemas"]["library.v1.Everything"],
        "components": DOCUMENT["components"],
    }
    assert not Draft202012Validator(schema).is_valid(wrong)


DOCUMENT = of_library()
