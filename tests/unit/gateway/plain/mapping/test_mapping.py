"""The mapping of plain tasks, rule by rule: fields to arguments, and results to messages."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message
from hypothesis import example, given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from forebay.errors import InvalidRequest
from forebay.routes import Method, read_methods
from forebay.routes.plain import PlainTask
from forebay_gateway.plain.mapping.arguments import arguments
from forebay_gateway.plain.mapping.celery_json import LongInteger, Unreadable, kind, read_json
from forebay_gateway.plain.mapping.results import fill, responses
from forebay_gateway.plain.mapping.scalars import Unfit
from tests.plain.v1 import plain_pb2 as pb

METHODS = {
    method.name.rpartition(".")[2]: method
    for method in read_methods([pb.DESCRIPTOR.services_by_name["PlainService"]])
}
MOMENT = datetime(2026, 11, 27, 12, 30, 15, 250000, tzinfo=UTC)


def plain(*positional: str) -> PlainTask:
    return PlainTask(positional, "", json_text=False, exceptions=(), let_finish=False)


def kinds(**fields: Any) -> pb.Kinds:
    return pb.Kinds(**fields)


def moment() -> pb.Kinds:
    message = pb.Kinds()
    message.at.FromDatetime(MOMENT)
    return message


def lasting() -> pb.Kinds:
    message = pb.Kinds()
    message.lasting.FromMilliseconds(1500)
    return message


def anything() -> pb.Kinds:
    message = pb.Kinds()
    message.anything.update({"a": [1, None, True, {"b": "c"}]})
    return message


def wrapped(value: int) -> pb.Kinds:
    message = pb.Kinds()
    message.wrapped.value = value
    return message


def several() -> pb.Kinds:
    return kinds(several=[kinds(small=1), kinds(small=2)])


# A message with one field set, and the argument of that name.
ARGUMENTS: list[tuple[pb.Kinds, str, Any]] = [
    (kinds(small=-(2**31)), "small", -(2**31)),
    (kinds(large=2**63 - 1), "large", 2**63 - 1),
    (kinds(unsigned=2**64 - 1), "unsigned", 2**64 - 1),
    (kinds(single=1.5), "single", 1.5),
    (kinds(real=0.1), "real", 0.1),
    (kinds(real=math.inf), "real", math.inf),
    (kinds(flag=True), "flag", True),
    (kinds(text="é"), "text", "é"),
    (kinds(data=b"\xff\x00"), "data", b"\xff\x00"),
    (kinds(colour=pb.COLOUR_RED), "colour", "COLOUR_RED"),
    (kinds(colour=7), "colour", 7),  # type: ignore[arg-type]
    (kinds(colours=[pb.COLOUR_RED, 7]), "colours", ["COLOUR_RED", 7]),  # type: ignore[list-item]
    (kinds(numbers=[1, 2]), "numbers", [1, 2]),
    (kinds(by_name={"a": 1}), "by_name", {"a": 1}),
    (kinds(by_number={3: "x"}), "by_number", {3: "x"}),
    (kinds(by_flag={True: "x"}), "by_flag", {True: "x"}),
    (moment(), "at", MOMENT),
    (lasting(), "lasting", 1.5),
    (anything(), "anything", {"a": [1, None, True, {"b": "c"}]}),
    (wrapped(0), "wrapped", 0),
    (kinds(maybe=""), "maybe", ""),
    (kinds(name="n"), "name", "n"),
    (kinds(number=0), "number", 0),
]


@pytest.mark.parametrize(("message", "name", "expected"), ARGUMENTS)
def test_a_field_becomes_the_argument_of_its_name(
    message: pb.Kinds, name: str, expected: Any
) -> None:
    args, kwargs = arguments(message, plain())
    assert args == []
    assert kwargs[name] == expected
    assert type(kwargs[name]) is type(expected)


@pytest.mark.parametrize(("message", "name", "expected"), ARGUMENTS)
def test_a_result_of_the_same_form_fills_the_field(
    message: pb.Kinds, name: str, expected: Any
) -> None:
    filled = pb.Kinds()
    fill(filled, through_json({name: expected}))
    assert filled == message


def through_json(value: Any) -> Any:
    """The value after a round trip through Celery's JSON."""
    return read_json(dumps(value))


# A number of a Value, and the argument.
NUMBERS: list[tuple[float, int | float]] = [
    (7.0, 7),
    (-3.0, -3),
    (0.0, 0),
    (-0.0, -0.0),
    (2.0**53, 2**53),
    (-(2.0**53), -(2**53)),
    (2.0**54, 2.0**54),
    (1e300, 1e300),
    (7.5, 7.5),
]


@pytest.mark.parametrize(("number", "expected"), NUMBERS)
def test_a_whole_number_of_a_struct_or_value_is_an_int(
    number: float, expected: int | float
) -> None:
    message = pb.Kinds()
    message.anything.fields["id"].number_value = number
    message.anything.fields["list"].list_value.values.add().number_value = number
    _, of_struct = arguments(message, plain())
    request = pb.DoRequest()
    getattr(request, "with").number_value = number
    _, of_value = arguments(request, plain())
    inner = of_struct["anything"]
    for argument in (inner["id"], inner["list"][0], of_value["with"]):
        assert (argument, type(argument)) == (expected, type(expected))


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_of_a_struct_that_json_lacks_is_refused_by_its_path(number: float) -> None:
    message = pb.Kinds()
    message.anything.fields["a"].list_value.values.add().number_value = number
    with pytest.raises(InvalidRequest) as refused:
        arguments(message, plain())
    assert [violation.field for violation in refused.value.violations] == ["anything.a[0]"]


def test_keys_that_celerys_json_would_decode_are_refused() -> None:
    message = pb.Kinds()
    message.anything["a"] = {"__type__": "uuid", "__value__": {"hex": "0" * 32, "version": 4}}
    by_name = kinds(by_name={"__type__": 1, "__value__": 2})
    for request, field in ((message, "anything.a"), (by_name, "by_name")):
        with pytest.raises(InvalidRequest, match="expected other keys") as refused:
            arguments(request, plain())
        assert [violation.field for violation in refused.value.violations] == [field]
    assert arguments(kinds(by_name={"__type__": 1}), plain())[1]["by_name"] == {"__type__": 1}


def test_an_unset_field_with_presence_is_no_argument() -> None:
    _, kwargs = arguments(pb.Kinds(), plain())
    unset = {"inner", "at", "lasting", "anything", "wrapped", "maybe", "name", "number"}
    assert kwargs.keys() == {field.name for field in pb.Kinds.DESCRIPTOR.fields} - unset
    assert (kwargs["small"], kwargs["text"], kwargs["numbers"]) == (0, "", [])
    assert kwargs["colour"] == "COLOUR_UNSPECIFIED"


def test_nested_messages_are_nested_objects() -> None:
    _, kwargs = arguments(
        kinds(inner=kinds(maybe="x"), several=[kinds(small=1)], tree={"t": kinds(small=2)}), plain()
    )
    assert kwargs["inner"]["maybe"] == "x"
    assert kwargs["several"][0]["small"] == 1
    assert kwargs["tree"]["t"]["small"] == 2


def test_positional_fields_come_in_their_order_and_an_unset_one_is_none() -> None:
    args, kwargs = arguments(pb.AddRequest(x=5), plain("y", "x"))
    assert (args, kwargs) == ([None, 5], {})


@pytest.mark.parametrize("seconds", [-(10**12), 10**12])
def test_an_invalid_time_is_an_invalid_request_that_names_its_field(seconds: int) -> None:
    message = pb.Kinds()
    message.inner.at.seconds = seconds
    with pytest.raises(InvalidRequest) as refused:
        arguments(message, plain())
    assert [violation.field for violation in refused.value.violations] == ["inner.at"]


# Values that are not the inverse of an argument, and the field that they fill.
RESULTS: list[tuple[str, Any, pb.Kinds]] = [
    ("small", 3.0, kinds(small=3)),
    ("small", Decimal("3"), kinds(small=3)),
    ("large", "9223372036854775807", kinds(large=2**63 - 1)),
    ("unsigned", "18446744073709551615", kinds(unsigned=2**64 - 1)),
    ("real", 3, kinds(real=3.0)),
    ("real", 2**200, kinds(real=float(2**200))),
    ("real", Decimal("0.5"), kinds(real=0.5)),
    ("real", "1e3", kinds(real=1000.0)),
    ("text", 12, kinds(text="12")),
    ("text", -(3**100), kinds(text=str(-(3**100)))),
    ("text", Decimal("0.10"), kinds(text="0.10")),
    ("text", UUID(int=5), kinds(text=str(UUID(int=5)))),
    ("text", MOMENT, kinds(text="2026-11-27T12:30:15.250000+00:00")),
    ("text", date(2026, 11, 27), kinds(text="2026-11-27")),
    ("text", time(12, 30), kinds(text="12:30:00")),
    ("data", "/wA=", kinds(data=b"\xff\x00")),
    ("data", 2**64, kinds(data=b"\x01" + bytes(8))),
    ("data", 0, kinds(data=b"")),
    ("colour", 1, kinds(colour=pb.COLOUR_RED)),
    ("at", "2026-11-27T12:30:15.25Z", moment()),
    ("at", MOMENT.timestamp(), moment()),
    ("at", MOMENT.replace(tzinfo=None), moment()),
    ("at", "2026-11-27T12:30:15.250000", moment()),
    ("at", "2026-11-27 12:30:15.25", moment()),
    ("at", "2026-11-27T13:30:15.25+01:00", moment()),
    ("lasting", "1.5s", lasting()),
    ("lasting", "PT1.5S", lasting()),
    ("lasting", 0.999999999, kinds(lasting=duration_pb2.Duration(nanos=999_999_999))),
    ("data", "_wA=", kinds(data=b"\xff\x00")),
    ("wrapped", {"value": 4}, wrapped(4)),
    ("byName", {"a": 1}, kinds(by_name={"a": 1})),
    ("numbers", None, kinds()),
    ("inner", {}, kinds(inner=kinds())),
    ("several", [{"small": 1}, {"small": 2, "extra": 3}], several()),
]


@pytest.mark.parametrize(("name", "value", "expected"), RESULTS)
def test_a_result_fills_the_field_of_its_key(name: str, value: Any, expected: pb.Kinds) -> None:
    filled = pb.Kinds()
    fill(filled, through_json({name: value}))
    assert filled == expected


UNFIT: list[tuple[str, Any, str]] = [
    ("small", 2**31, "small: expected a 32-bit integer; got one out of range"),
    ("large", 2**63, "large: expected a 64-bit integer; got one out of range"),
    ("large", 10**30, "large: expected a 64-bit integer; got an integer beyond 64 bits"),
    ("unsigned", -1, "unsigned: expected an unsigned 64-bit integer; got one out of range"),
    ("large", 1.5, "large: expected a 64-bit integer; got a number"),
    ("large", math.nan, "large: expected a 64-bit integer; got a number"),
    ("large", True, "large: expected a 64-bit integer; got a boolean"),
    ("large", "many", "large: expected a 64-bit integer; got a string"),
    ("real", "many", "real: expected a number; got a string"),
    ("real", 10**400, "real: expected a number that the field can hold; got a larger one"),
    ("single", 1e39, "single: expected a number that the field can hold; got a larger one"),
    ("flag", 1, "flag: expected a boolean; got a number"),
    ("text", 1.5, "text: expected a string; got a number"),
    ("text", ["x"], "text: expected a string; got a list"),
    ("text", "\ud800", "text: expected a string of Unicode; got one with half a surrogate pair"),
    ("data", "?", "data: expected bytes or base64; got another string"),
    ("data", -1, "data: expected bytes or base64; got a number"),
    ("colour", "RED", "colour: expected a name or number of tests.plain.v1.Colour; got a string"),
    ("colour", 2**40, "colour: expected a number of tests.plain.v1.Colour; got another"),
    ("numbers", 1, "numbers: expected a list; got a number"),
    ("numbers", [1, None], "numbers[1]: expected a 64-bit integer; got null"),
    ("by_name", [1], "by_name: expected an object; got a list"),
    ("by_name", {"a": "b"}, "by_name.a: expected a 64-bit integer; got a string"),
    ("by_number", {"a": "b"}, "by_number's keys: expected a 32-bit integer; got a string"),
    ("inner", {"small": "x"}, "inner.small: expected a 32-bit integer; got a string"),
    ("inner", {"nothing": 1}, "inner: none of its keys is a field of tests.plain.v1.Kinds"),
    ("tree", {"t": {"flag": 1}}, "tree.t.flag: expected a boolean; got a number"),
    ("at", "yesterday", "at: expected a datetime, ISO 8601 or seconds since 1970; got another"),
    ("at", 1e18, "at: expected a datetime, ISO 8601 or seconds since 1970; got another"),
    ("lasting", "long", 'lasting: expected a number of seconds, or "3.5s" or "PT3.5S"'),
    ("anything", [], "anything: expected an object; got a list"),
    (
        "anything",
        {"a": math.nan},
        "anything.a: expected a finite number that a double holds exactly",
    ),
    (
        "anything",
        {"a": 2**60 + 1},
        "anything.a: expected a finite number that a double holds exactly",
    ),
]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (MOMENT, "2026-11-27T12:30:15.250000+00:00"),
        (date(2026, 11, 27), "2026-11-27"),
        (time(12, 30), "12:30:00"),
        (Decimal("0.10"), "0.10"),
        (UUID(int=5), str(UUID(int=5))),
        (b"text", "dGV4dA=="),
        (b"\xff", "/w=="),
    ],
)
def test_what_json_has_no_type_for_is_a_string_in_a_value(value: Any, text: str) -> None:
    filled = pb.Kinds()
    fill(filled, through_json({"anything": {"a": [value]}}))
    assert filled.anything["a"][0] == text


@pytest.mark.parametrize(("name", "value", "problem"), UNFIT)
def test_a_result_that_does_not_fit_is_refused_by_its_path(
    name: str, value: Any, problem: str
) -> None:
    with pytest.raises(Unfit) as refused:
        fill(pb.Kinds(), through_json({name: value}))
    assert str(refused.value) == problem


def test_two_members_of_a_oneof_are_refused() -> None:
    with pytest.raises(Unfit, match="expected one of 'name' and 'number'; got both"):
        fill(pb.Kinds(), {"name": "n", "number": 1})
    filled = pb.Kinds()
    fill(filled, {"name": None, "number": 1})
    assert filled == kinds(number=1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_double_may_be_infinite_or_nan(value: float) -> None:
    filled = pb.Kinds()
    fill(filled, through_json({"real": value}))
    assert str(filled.real) == str(value)


def answers(name: str, result: Any) -> list[Message]:
    return list(responses(through_json(result), METHODS[name]))


def value_of(value: Any) -> pb.Done:
    done = pb.Done()
    done.value.struct_value.update({"v": value})
    inner = struct_pb2.Value()
    inner.CopyFrom(done.value.struct_value.fields["v"])
    return pb.Done(value=inner)


# A method, what its task returns, and the responses.
SHAPES: list[tuple[str, Any, list[Message]]] = [
    ("Add", 3, [pb.Sum(total=3)]),
    ("Add", {"total": 3, "and": "more"}, [pb.Sum(total=3)]),
    ("Add", None, [pb.Sum()]),
    ("Add", {}, [pb.Sum()]),
    ("Subtract", 3, [pb.Sum(total=3)]),
    ("Do", [1, "a"], [value_of([1, "a"])]),
    ("Do", {"a": 1}, [value_of({"a": 1})]),
    ("Do", {"value": {"a": 1}, "b": 2}, [value_of({"a": 1})]),
    ("DoText", '{"rows": [[1, 2], [3]]}', [pb.Table(rows=[{"values": [1, 2]}, {"values": [3]}])]),
    ("DoText", "[[1, 2], [3]]", [pb.Table(rows=[{"values": [1, 2]}, {"values": [3]}])]),
    ("DoText", None, [pb.Table()]),
    ("DoInSteps", ["a", 2], [pb.Step(value="a"), pb.Step(value="2")]),
    ("DoInSteps", "a", [pb.Step(value="a")]),
    ("DoInSteps", [], []),
    ("DoInSteps", None, []),
    ("DoAtOnce", [1, 2], [pb.Sums(totals=[1, 2])]),
]


@pytest.mark.parametrize(("name", "result", "expected"), SHAPES)
def test_a_result_has_the_shape_of_its_method(
    name: str, result: Any, expected: list[Message]
) -> None:
    assert answers(name, result) == expected


def test_a_value_that_is_not_an_object_needs_a_message_of_one_field() -> None:
    with pytest.raises(Unfit, match="does the route name the `result` field"):
        answers("Echo", 3)


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ("[1,", "needs a string that is JSON; it is not JSON"),
        (5, "needs a string that is JSON; got a number"),
        ("1" * 30, "got an integer beyond 64 bits"),
    ],
)
def test_json_text_that_is_not_json_is_refused(result: Any, problem: str) -> None:
    with pytest.raises(Unfit, match=problem):
        answers("DoText", result)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("null", "null"),
        ("true", "a boolean"),
        ("1" * 30, "an integer beyond 64 bits"),
        ("1", "a number"),
        ("1.5", "a number"),
        ('"1"', "a string"),
        ("{}", "an object"),
        ("[]", "a list"),
        ('{"__type__": "uuid", "__value__": {"hex": "%s"}}' % ("0" * 32), "a UUID"),
    ],
)
def test_errors_name_a_value_by_its_type_in_json(text: str, name: str) -> None:
    assert kind(read_json(text)) == name


@pytest.mark.parametrize(
    ("digits", "type_"),
    [
        ("18446744073709551615", int),
        ("-9223372036854775808", int),
        ("-" + "9" * 19, int),
        ("9" * 21, LongInteger),
        ("-" + "9" * 20, LongInteger),
    ],
)
def test_integers_of_20_characters_are_read_as_numbers(digits: str, type_: type) -> None:
    assert type(read_json(digits)) is type_


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("small", -(2**31), 2**31 - 1),
        ("large", -(2**63), 2**63 - 1),
        ("unsigned", 0, 2**64 - 1),
    ],
)
def test_an_integer_must_be_in_the_range_of_its_field(field: str, least: int, most: int) -> None:
    for value in (least, most):
        filled = pb.Kinds()
        fill(filled, {field: value})
        assert getattr(filled, field) == value
    for value in (least - 1, most + 1):
        with pytest.raises(Unfit, match="got one out of range"):
            fill(pb.Kinds(), {field: value})


@pytest.mark.parametrize(("field", "wanted"), [("at", "a time"), ("lasting", "seconds")])
@pytest.mark.parametrize(("value", "name"), [(True, "a boolean"), ([], "a list")])
def test_a_bool_or_a_list_is_not_a_time_or_duration(
    field: str, wanted: str, value: Any, name: str
) -> None:
    with pytest.raises(Unfit, match=f"expected {wanted}; got {name}"):
        fill(pb.Kinds(), {field: value})


def test_lists_that_are_nested_deeper_than_messages_do_not_fit() -> None:
    deep = read_json("[" * 500 + "]" * 500)
    with pytest.raises(Unfit):
        answers("DoText", dumps(deep))


def test_json_that_is_nested_too_deeply_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="nested too deeply"):
        read_json("[" * 200_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        b"\xff",
        '{"__type__": "spaceship", "__value__": 1}',
        '{"__type__": "uuid", "__value__": 1}',
        '{"__type__": "datetime", "__value__": "soon"}',
        '{"__type__": "decimal", "__value__": "x"}',
        '{"__type__": [], "__value__": "x"}',
    ],
)
def test_anything_but_celerys_json_is_unreadable(text: str | bytes) -> None:
    with pytest.raises(Unreadable):
        read_json(text)


def test_an_integer_of_any_length_is_read_as_its_digits() -> None:
    digits = "-" + "9" * 100_000
    value = read_json(digits)
    assert type(value) is LongInteger
    filled = pb.Kinds()
    fill(filled, {"text": value})
    assert filled.text == digits


_INT64 = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_JSON_VALUE: st.SearchStrategy[struct_pb2.Value] = st.deferred(
    lambda: (
        st.builds(struct_pb2.Value, number_value=st.floats(allow_nan=False, allow_infinity=False))
        | st.builds(struct_pb2.Value, number_value=st.integers(-(2**60), 2**60))
        | st.builds(struct_pb2.Value, string_value=_TEXT)
        | st.builds(struct_pb2.Value, bool_value=st.booleans())
        | st.just(struct_pb2.Value(null_value=struct_pb2.NULL_VALUE))
        | st.builds(struct_pb2.Value, struct_value=_STRUCT)
        | st.builds(
            struct_pb2.Value,
            list_value=st.builds(struct_pb2.ListValue, values=st.lists(_JSON_VALUE, max_size=2)),
        )
    )
)
_STRUCT = st.builds(struct_pb2.Struct, fields=st.dictionaries(_TEXT, _JSON_VALUE, max_size=2))
_MICROSECONDS = st.integers(-(10**15), 10**15)
_TIMESTAMP = st.builds(
    lambda us: timestamp_pb2.Timestamp(seconds=us // 10**6, nanos=us % 10**6 * 1000), _MICROSECONDS
)
_DURATION = st.builds(lambda s: duration_pb2.Duration(seconds=s), st.integers(-(10**9), 10**9))
_KINDS = st.deferred(
    lambda: (
        st.builds(
            pb.Kinds,
            small=st.integers(-(2**31), 2**31 - 1),
            large=_INT64,
            unsigned=st.integers(0, 2**64 - 1),
            single=st.floats(width=32, allow_nan=False),
            real=st.floats(allow_nan=False),
            flag=st.booleans(),
            text=_TEXT,
            data=st.binary(),
            colour=st.integers(-(2**31), 2**31 - 1),
            numbers=st.lists(_INT64, max_size=3),
            by_name=st.dictionaries(_TEXT, _INT64, max_size=3),
            by_number=st.dictionaries(st.integers(-(2**31), 2**31 - 1), _TEXT, max_size=3),
            by_flag=st.dictionaries(st.booleans(), _TEXT),
            at=st.none() | _TIMESTAMP,
            lasting=st.none() | _DURATION,
            anything=st.none() | _STRUCT,
            wrapped=st.none() | st.builds(wrappers_pb2.Int64Value, value=_INT64),
            maybe=st.none() | _TEXT,
            inner=st.none() | _KINDS,
            several=st.lists(_KINDS, max_size=2),
            tree=st.dictionaries(_TEXT, _KINDS, max_size=2),
        )
        | st.builds(pb.Kinds, name=_TEXT)
        | st.builds(pb.Kinds, number=st.integers(-(2**31), 2**31 - 1))
    )
)


@given(_KINDS)
@example(pb.Kinds(by_name={"true": 1}, by_flag={True: "x"}))
def test_a_task_that_returns_its_arguments_returns_the_request(message: pb.Kinds) -> None:
    _, kwargs = arguments(message, plain())
    filled = pb.Kinds()
    fill(filled, through_json(kwargs))
    assert filled == message


def types(value: Any) -> Any:
    """The value with each of its leaves as a type and text; JSON turns the keys into strings."""
    if isinstance(value, dict):
        return {str(key): types(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [types(inner) for inner in value]
    return type(value), repr(value)


@given(_KINDS)
def test_a_task_receives_the_arguments_with_the_types_that_they_were_sent_with(
    message: pb.Kinds,
) -> None:
    _, kwargs = arguments(message, plain())
    kwargs |= {"by_flag": {}}  # JSON has true for True
    kwargs.pop("inner", None), kwargs.pop("several"), kwargs.pop("tree")
    assert types(loads(dumps(kwargs))) == types(kwargs)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(METHODS)), _JSON)
def test_any_result_of_a_task_fits_or_is_unfit(name: str, result: Any) -> None:
    method: Method = METHODS[name]
    try:
        messages = list(responses(result, method))
    except Unfit:
        return
    assert all(type(message) is method.response_class for message in messages)
