"""The options of `plain.proto`: what they make of requests and results, and what is refused."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from kombu.utils.json import dumps

from forebay.errors import InvalidRequest
from forebay.routes import Method, RouteError, read_methods
from forebay.routes.sources import read_source
from forebay.v1 import plain_pb2
from forebay_gateway.plain.mapping.arguments import arguments
from forebay_gateway.plain.mapping.celery_json import read_json
from forebay_gateway.plain.mapping.results import responses
from forebay_gateway.plain.mapping.scalars import Unfit
from tests.protoc import descriptor_set

FILE = """
syntax = "proto3";
package t;
import "forebay/v1/plain.proto";
import "forebay/v1/route.proto";
import "google/protobuf/struct.proto";

service Service {
  rpc Run(%(request)s) returns (Request) {
    option (forebay.v1.route) = {task: "t.run" queue: "q" plain: {%(plain)s}};
  }
}
message Request {%(fields)s}
message List {
  option (forebay.v1.plain_message).shape = PLAIN_SHAPE_VALUE;
  %(values)s
}
message Pair {
  option (forebay.v1.plain_message).shape = PLAIN_SHAPE_LIST;
  int32 x = 1;
  optional string y = 2;
}
enum Colour {
  COLOUR_UNSPECIFIED = 0;
  COLOUR_RED = 1 [(forebay.v1.plain_value).text = "red"];
  COLOUR_SEVEN = 2%(seven)s;
}
"""
SEVEN = " [(forebay.v1.plain_value).number = 7]"


def read(
    *fields: str,
    plain: str = "",
    seven: str = SEVEN,
    values: str = "repeated int32 values = 1;",
    request: str = "Request",
    later: str = "",
) -> Method:
    """The method of a request with these fields, which is also the response.

    `|` stands for the field's number and the name of its option. `later` is the name of an enum in
    the first field's option: it gets a value that this version does not have.
    """
    lines = [
        one.replace("|", f"= {number} [(forebay.v1.plain_field)") + "];"
        if "|" in one
        else f"{one} = {number};"
        for number, one in enumerate(fields, start=1)
    ]
    parts = {"plain": plain, "seven": seven, "values": values, "request": request}
    text = FILE % {"fields": "\n".join(lines), **parts}
    with TemporaryDirectory() as folder:
        path = descriptor_set(text, Path(folder))
        if later:
            files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
            options = files.file[-1].message_type[0].field[0].options
            setattr(options.Extensions[plain_pb2.plain_field], later, 9)
            path.write_bytes(files.SerializeToString())
        source = read_source(str(path))
    (method,) = read_methods(source.services)
    return method


def arguments_of(method: Method, **fields: Any) -> tuple[list[Any], dict[str, Any]]:
    assert method.route.plain is not None
    request = ParseDict(fields, method.request_class(), descriptor_pool=method.pool)
    return arguments(request, method.route.plain)


def result_of(method: Method, result: Any) -> Any:
    (message,) = responses(read_json(dumps(result)), method)
    return MessageToDict(message, descriptor_pool=method.pool, preserving_proto_field_name=True)


# The type of a string, its text, and the argument.
TEXTS: list[tuple[str, str, Any]] = [
    ("DECIMAL", "0.10", Decimal("0.10")),
    ("UUID", "12345678-1234-5678-1234-567812345678", UUID("12345678123456781234567812345678")),
    ("DATE", "2026-11-28", date(2026, 11, 28)),
    ("TIME", "12:30:00", time(12, 30)),
]


@pytest.mark.parametrize(("kind", "text", "value"), TEXTS)
def test_a_string_of_a_type_is_that_type_both_ways(kind: str, text: str, value: Any) -> None:
    kinds = ("string one", "repeated string several", "map<string, string> by")
    method = read(*(f"{one} |.type = PLAIN_TYPE_{kind}" for one in kinds))
    fields = {"one": text, "several": [text, text], "by": {"a": text}}
    _, kwargs = arguments_of(method, **fields)
    assert kwargs == {"one": value, "several": [value, value], "by": {"a": value}}
    assert (type(kwargs["one"]), str(kwargs["one"])) == (type(value), text)
    assert result_of(method, kwargs) == fields


@pytest.mark.parametrize("kind", [kind for kind, _, _ in TEXTS])
@pytest.mark.parametrize("text", ["", "x", "1-2-3"])
def test_a_string_that_is_not_of_its_type_is_refused_by_its_path(kind: str, text: str) -> None:
    kinds = ("repeated string several", "map<string, string> by")
    method = read(*(f"{one} |.type = PLAIN_TYPE_{kind}" for one in kinds))
    for fields, path in (({"several": [text]}, "several[0]"), ({"by": {"a": text}}, "by.a")):
        with pytest.raises(InvalidRequest) as refused:
            arguments_of(method, **fields)
        assert [violation.field for violation in refused.value.violations] == [path]


def test_a_field_may_have_another_name_for_the_task() -> None:
    method = read('string from |.name = "from_"', 'int32 x |.name = "from"')
    assert arguments_of(method, **{"from": "a", "x": 1}) == ([], {"from_": "a", "from": 1})
    assert result_of(method, {"from_": "a", "from": 1}) == {"from": "a", "x": 1}
    for key in ("maxItems", "max_items", "most"):
        method = read('int32 max_items |.name = "most"', "int32 other")
        assert result_of(method, {key: 1}) == {"max_items": 1}
    by_position = read('string from |.name = "from_"', plain='positional: "from"')
    assert arguments_of(by_position, **{"from": "a"}) == (["a"], {})


def test_a_field_that_is_unset_is_what_its_option_says() -> None:
    method = read(
        "repeated int32 zero",
        "repeated int32 left_out |.unset = PLAIN_UNSET_OMITTED",
        "optional int32 none |.unset = PLAIN_UNSET_NONE",
        "repeated int32 empty |.unset = PLAIN_UNSET_NONE",
        "optional int32 absent",
    )
    assert arguments_of(method) == ([], {"zero": [], "none": None, "empty": None})
    fields = {"left_out": [1], "none": 0, "empty": [2], "absent": 0}
    assert arguments_of(method, **fields) == ([], {"zero": [], **fields})


def test_a_positional_argument_that_is_omitted_is_the_last_one() -> None:
    method = read(
        "int32 a",
        "optional int32 b |.unset = PLAIN_UNSET_OMITTED",
        "optional int32 c |.unset = PLAIN_UNSET_OMITTED",
        "repeated int32 d",
        plain='positional: ["a", "b", "c"] args: "d"',
    )
    assert arguments_of(method, a=1) == ([1], {})
    assert arguments_of(method, a=1, b=2) == ([1, 2], {})
    assert arguments_of(method, a=1, b=2, c=3, d=[4, 5]) == ([1, 2, 3, 4, 5], {})
    for fields in ({"c": 3}, {"d": [4]}):
        with pytest.raises(InvalidRequest, match="b: expected a value") as refused:
            arguments_of(method, **fields)
        assert [violation.field for violation in refused.value.violations] == ["b"]


@pytest.mark.parametrize("kind", ["map<string, string>", "google.protobuf.Struct"])
def test_entries_become_keyword_arguments(kind: str) -> None:
    method = read('int32 a |.name = "b"', f"{kind} rest", plain='kwargs: "rest"')
    assert arguments_of(method, a=1, rest={"a": "x"}) == ([], {"b": 1, "a": "x"})
    assert arguments_of(method) == ([], {"b": 0})
    with pytest.raises(InvalidRequest, match=r"rest\.b: expected another name"):
        arguments_of(method, rest={"b": "x"})
    with pytest.raises(InvalidRequest, match="expected other keys"):
        arguments_of(method, rest={"__type__": "date", "__value__": "x"})


def test_a_message_may_stand_for_its_value_or_for_a_list() -> None:
    method = read("repeated List rows", "Pair pair")
    fields = {"rows": [{"values": [1, 2]}, {}], "pair": {"x": 5, "y": "z"}}
    _, kwargs = arguments_of(method, **fields)
    assert kwargs == {"rows": [[1, 2], []], "pair": [5, "z"]}
    assert result_of(method, kwargs) == fields
    assert arguments_of(method, pair={"x": 5})[1]["pair"] == [5, None]
    assert result_of(method, {"pair": [5, None]}) == {"pair": {"x": 5}}
    assert result_of(method, {"pair": {"x": 5}}) == {"pair": {"x": 5}}
    with pytest.raises(Unfit, match="pair: expected a list of 2 elements; got 1"):
        result_of(method, {"pair": [5]})
    with pytest.raises(Unfit, match=r"pair\[0\]: expected a 32-bit integer"):
        result_of(method, {"pair": ["x", "y"]})


def test_an_enums_value_may_stand_for_a_value_of_python() -> None:
    method = read("repeated Colour several")
    fields = {"several": ["COLOUR_RED", "COLOUR_SEVEN"]}
    assert arguments_of(method, **fields) == ([], {"several": ["red", 7]})
    assert result_of(method, {"several": ["red", 7]}) == fields
    assert result_of(method, {"several": ["COLOUR_RED", "COLOUR_SEVEN"]}) == fields
    for unknown in ("COLOUR_UNSPECIFIED", 9):
        with pytest.raises(InvalidRequest, match="expected one of COLOUR_RED, COLOUR_SEVEN"):
            arguments_of(method, several=[unknown])
    for unfit in ("blue", 1, True, 1.5):
        with pytest.raises(Unfit, match=r"several\[0\]: expected a"):
            result_of(method, {"several": [unfit]})


# The fields, other parts of the file, and the problem.
PROBLEMS: list[tuple[list[str], dict[str, str], str]] = [
    (
        ["int32 a |.type = PLAIN_TYPE_UUID"],
        {},
        "t.Request.a has a `plain_field.type`, which is for",
    ),
    (["Colour a"], {"seven": ""}, "t.Colour: COLOUR_SEVEN has no `plain_value`"),
    (
        ["Colour a"],
        {"seven": ' [(forebay.v1.plain_value).text = "red"]'},
        "t.Colour has 2 values that stand for 'red'",
    ),
    (["int32 a", 'int32 b |.name = "a"'], {}, "t.Request has 2 fields that stand for 'a'"),
    (["List a"], {"values": ""}, "t.List stands for the value of its only field, but it has 0"),
    (["int32 a"], {"plain": 'args: "a"'}, "`plain.args` names 'a', which is not a repeated "),
    (["map<string, int32> a"], {"plain": 'args: "a"'}, "`plain.args` names 'a', which is not a re"),
    (["int32 b"], {"plain": 'args: "a"'}, "`plain.args` names 'a', which is not a repeated "),
    (["Pair a"], {"plain": 'kwargs: "a"'}, "`plain.kwargs` names 'a', which is neither a map with"),
    (["map<int32, int32> a"], {"plain": 'kwargs: "a"'}, "`plain.kwargs` names 'a', which is neit"),
    (
        ["int32 b"],
        {"plain": 'kwargs: "a"'},
        "`plain.kwargs` names 'a', which is neither a map with string",
    ),
    (
        ["repeated int32 a"],
        {"plain": 'args: "a" positional: "a"'},
        "`plain` names 'a' twice in `positional`, `args` and `kwargs`",
    ),
]


def test_a_request_can_not_stand_for_a_list() -> None:
    with pytest.raises(
        RouteError, match=r"t\.List has a `plain_message.shape`, but its fields are"
    ):
        read(request="List")


@pytest.mark.parametrize("option", ["type", "unset"])
def test_an_option_of_a_later_version_is_refused(option: str) -> None:
    with pytest.raises(
        RouteError, match=rf"t\.Request\.a has a `plain_field.{option}` of 9, which"
    ):
        read("string a", later=option)


@pytest.mark.parametrize(("fields", "parts", "problem"), PROBLEMS)
def test_options_that_make_no_sense_are_refused(
    fields: list[str], parts: dict[str, str], problem: str
) -> None:
    with pytest.raises(RouteError) as refused:
        read(*fields, **parts)
    assert [line for line in refused.value.problems if problem in line], refused.value.problems
