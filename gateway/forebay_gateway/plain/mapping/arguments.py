"""Maps a request message to the arguments of a Celery task. Pure.

A field becomes the Python value that a Python caller of the task would pass: bytes stay bytes, a
Timestamp becomes an aware datetime. An unset field that has presence (optional, a message, in
a oneof) becomes no argument, so the task's default applies. The options of
`forebay/v1/plain.proto` change names, types and shapes. `docs/plain-tasks.md` has the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from forebay.errors import FieldViolation, InvalidRequest
from forebay.routes.plain import PlainTask
from forebay.routes.plain_forms import FieldForm, enum_form, message_form
from forebay.v1 import plain_pb2 as pb
from forebay_gateway.plain.mapping.celery_json import ENVELOPE
from forebay_gateway.plain.mapping.text_types import FROM_TEXT
from forebay_gateway.plain.mapping.well_known import EXACT


def arguments(request: Message, plain: PlainTask) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments; raises InvalidRequest."""
    values = dict(_fields(request, ""))
    forms = {form.field.name: form for form in message_form(request.DESCRIPTOR).fields}
    rest = values.pop(forms[plain.args].name, []) if plain.args else []
    extra = values.pop(forms[plain.kwargs].name, {}) if plain.kwargs else {}
    positional = _positional([forms[name] for name in plain.positional], values, rest)
    for name in extra.keys() & {form.name for form in forms.values()}:
        raise _invalid(f"{plain.kwargs}.{name}", "expected another name: a field has this one")
    return positional, _checked(values | extra, plain.kwargs)


def _positional(forms: list[FieldForm], values: dict[str, Any], rest: list[Any]) -> list[Any]:
    """Takes the positional arguments out of the values; only the last ones can be left out."""
    positional: list[Any] = []
    left_out = ""
    for form in forms:
        if form.name not in values and form.unset == pb.PLAIN_UNSET_OMITTED:
            left_out = left_out or form.field.name
        elif left_out:
            raise _missing(left_out, form.field.name)
        else:
            positional.append(values.pop(form.name, None))
    if left_out and rest:
        raise _missing(left_out, "the rest")
    return positional + rest


def _fields(message: Message, path: str) -> Iterator[tuple[str, Any]]:
    """The message's fields as the items of a dict."""
    for form in message_form(message.DESCRIPTOR).fields:
        field = form.field
        may_be_unset = field.has_presence or form.unset != pb.PLAIN_UNSET_UNSPECIFIED
        if not may_be_unset or _is_set(message, field):
            yield form.name, _field(message, form, f"{path}{field.name}")
        elif form.unset == pb.PLAIN_UNSET_NONE:
            yield form.name, None


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    return (
        message.HasField(field.name) if field.has_presence else bool(getattr(message, field.name))
    )


def _field(message: Message, form: FieldForm, path: str) -> Any:
    field, value = form.field, getattr(message, form.field.name)
    entry: Any = field.message_type
    if field.is_repeated and entry is not None and entry.GetOptions().map_entry:
        inner = entry.fields_by_name["value"]
        items = {key: _value(inner, form.type, value[key], f"{path}.{key}") for key in value}
        return _checked(items, path)
    if field.is_repeated:
        return [
            _value(field, form.type, one, f"{path}[{index}]") for index, one in enumerate(value)
        ]
    return _value(field, form.type, value, path)


def _value(field: FieldDescriptor, text_type: int, value: Any, path: str) -> Any:
    if field.message_type is not None:
        well_known = _WELL_KNOWN.get(field.message_type.full_name)
        return well_known(value, path) if well_known else _message(value, path)
    if field.enum_type is not None:
        return _enum(field, value, path)
    return _from_text(value, text_type, path) if text_type else value


def _message(message: Message, path: str) -> Any:
    """A dict or, if the message has a shape, what it stands for."""
    form = message_form(message.DESCRIPTOR)
    values = dict(_fields(message, f"{path}."))
    if form.shape == pb.PLAIN_SHAPE_UNSPECIFIED:
        return values
    elements = [values.get(field.name) for field in form.fields]
    return elements if form.shape == pb.PLAIN_SHAPE_LIST else elements[0]


def _enum(field: FieldDescriptor, value: int, path: str) -> Any:
    enum: Any = field.enum_type
    form = enum_form(enum)
    if form is None:
        known = enum.values_by_number.get(value)
        return value if known is None else known.name
    if value not in form.values:
        names = ", ".join(enum.values_by_number[number].name for number in form.values)
        raise _invalid(path, f"expected one of {names}")
    return form.values[value]


def _from_text(value: str, text_type: int, path: str) -> Any:
    read, expected = FROM_TEXT[text_type]
    try:
        return read(value)
    except (ValueError, ArithmeticError) as error:
        raise _invalid(path, f"expected {expected}") from error


def _timestamp(value: Any, path: str) -> datetime:
    try:
        moment: datetime = value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid(path, "expected a Timestamp of the years 1 to 9999") from error
    return moment


def _json(value: Any, path: str) -> Any:
    """The content of a `google.protobuf.Value`."""
    kind = value.WhichOneof("kind")
    match kind:
        case "number_value":
            return _number(value.number_value, path)
        case "struct_value":
            return _struct(value.struct_value, path)
        case "list_value":
            return _list(value.list_value, path)
        case "string_value" | "bool_value":
            return getattr(value, kind)
        case _:
            return None


def _number(value: float, path: str) -> int | float:
    """An int if the number is whole, as in protobuf's JSON: clients send ids as numbers.

    No int is -0.0, so that stays a float.
    """
    if not math.isfinite(value):
        raise _invalid(path, "expected a value that JSON can hold")
    is_int = value.is_integer() and abs(value) <= EXACT and str(value) != "-0.0"
    return int(value) if is_int else value


def _struct(value: Any, path: str) -> dict[str, Any]:
    content = {key: _json(inner, f"{path}.{key}") for key, inner in value.fields.items()}
    return _checked(content, path)


def _list(value: Any, path: str) -> list[Any]:
    return [_json(inner, f"{path}[{index}]") for index, inner in enumerate(value.values)]


def _checked(content: dict[Any, Any], path: str) -> dict[Any, Any]:
    """Refuses keys which Celery's JSON would decode as a value of another type."""
    if content.keys() == ENVELOPE:
        raise _invalid(path, f"expected other keys than {' and '.join(sorted(ENVELOPE))} alone")
    return content


def _wrapped(value: Any, _: str) -> Any:
    return value.value


def _duration(value: Any, path: str) -> float:
    try:
        value.ToJsonString()  # raises if it is out of range or the signs differ
    except ValueError as error:
        raise _invalid(path, "expected a Duration of at most 10,000 years") from error
    return float(value.seconds + value.nanos / 1e9)


def _missing(name: str, later: str) -> InvalidRequest:
    return _invalid(name, f"expected a value: the task takes it by position, before {later}")


def _invalid(path: str, description: str) -> InvalidRequest:
    return InvalidRequest(f"{path}: {description}", violations=(FieldViolation(path, description),))


_WRAPPERS = ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
_WELL_KNOWN: Mapping[str, Callable[[Any, str], Any]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.Struct": _struct,
    "google.protobuf.Value": _json,
    "google.protobuf.ListValue": _list,
    **{f"google.protobuf.{name}Value": _wrapped for name in _WRAPPERS},
}
