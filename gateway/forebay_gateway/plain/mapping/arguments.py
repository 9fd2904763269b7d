"""From a request message to the arguments of a Celery task. Pure.

A field becomes the Python value that a Python caller of the task would pass: bytes stay bytes, a
Timestamp becomes an aware datetime. An unset field that has presence (optional, a message, in
a oneof) becomes no argument, so the task's default applies. `docs/plain-tasks.md` has the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from forebay.errors import FieldViolation, InvalidRequest
from forebay.routes.plain import PlainTask
from forebay_gateway.plain.mapping.celery_json import ENVELOPE
from forebay_gateway.plain.mapping.well_known import EXACT


def arguments(request: Message, plain: PlainTask) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments; raises InvalidRequest."""
    named = _fields(request, "")
    return [named.pop(name, None) for name in plain.positional], named


def _fields(message: Message, path: str) -> dict[str, Any]:
    descriptor: Any = message.DESCRIPTOR
    return {
        field.name: _field(message, field, f"{path}{field.name}")
        for field in descriptor.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _field(message: Message, field: FieldDescriptor, path: str) -> Any:
    value = getattr(message, field.name)
    entry: Any = field.message_type
    if field.is_repeated and entry is not None and entry.GetOptions().map_entry:
        values = entry.fields_by_name["value"]
        return _checked({key: _value(values, value[key], f"{path}.{key}") for key in value}, path)
    if field.is_repeated:
        return [_value(field, one, f"{path}[{index}]") for index, one in enumerate(value)]
    return _value(field, value, path)


def _value(field: FieldDescriptor, value: Any, path: str) -> Any:
    if field.message_type is not None:
        well_known = _WELL_KNOWN.get(field.message_type.full_name)
        return well_known(value, path) if well_known else _fields(value, f"{path}.")
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    return value


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
    """An int if the number is whole, as in protobuf's JSON: clients send ids as numbers."""
    if not math.isfinite(value):
        raise _invalid(path, "expected a value that JSON can hold")
    return int(value) if value.is_integer() and abs(value) <= EXACT else value


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
