"""Maps JSON values to protobuf's well-known types that have a mapping of their own. Pure.

Wrappers (`Int64Value` and so on) and FieldMask need no rule of their own: they have one field.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from pydantic import TypeAdapter

from forebay_gateway.plain.mapping.celery_json import LongInteger, kind
from forebay_gateway.plain.mapping.scalars import Unfit

_TIMEDELTA = TypeAdapter(timedelta)
EXACT = 1 << 53
"""Doubles hold all integers up to this one exactly."""


def _timestamp(message: Any, value: Any, path: str) -> None:
    try:
        if isinstance(value, datetime):
            message.FromDatetime(value if value.tzinfo else value.replace(tzinfo=UTC))
        elif isinstance(value, str):
            _timestamp_of_text(message, value)
        elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            message.FromNanoseconds(_nanoseconds(value))
        else:
            raise Unfit(path, f"expected a time; got {kind(value)}")
        message.ToJsonString()  # raises if it is out of range
    except Unfit:
        raise
    except (ValueError, OverflowError, ArithmeticError):
        raise Unfit(
            path, "expected a datetime, ISO 8601 or seconds since 1970; got another"
        ) from None


def _timestamp_of_text(message: Any, text: str) -> None:
    """Reads RFC 3339, or ISO 8601 without a time zone, as pydantic writes naive datetimes."""
    try:
        message.FromJsonString(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        message.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _duration(message: Any, value: Any, path: str) -> None:
    try:
        if isinstance(value, str) and value.endswith("s"):
            message.FromJsonString(value)
        elif isinstance(value, str):
            message.FromTimedelta(_TIMEDELTA.validate_strings(value))
        elif isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            message.FromNanoseconds(_nanoseconds(value))
        else:
            raise Unfit(path, f"expected seconds; got {kind(value)}")
        message.ToJsonString()
    except Unfit:
        raise
    except (ValueError, OverflowError, ArithmeticError):
        raise Unfit(path, 'expected a number of seconds, or "3.5s" or "PT3.5S"') from None


def _nanoseconds(seconds: float | Decimal) -> int:
    whole = math.floor(seconds)
    return whole * 1_000_000_000 + round(float(seconds - whole) * 1e9)


def _struct(message: Any, value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise Unfit(path, f"expected an object; got {kind(value)}")
    for key, inner in value.items():
        _value(message.fields[key], inner, f"{path}.{key}")


def _list(message: Any, value: Any, path: str) -> None:
    if not isinstance(value, list):
        raise Unfit(path, f"expected a list; got {kind(value)}")
    for index, inner in enumerate(value):
        _value(message.values.add(), inner, f"{path}[{index}]")


def _value(message: Any, value: Any, path: str) -> None:
    match value:
        case None:
            message.null_value = 0
        case bool():
            message.bool_value = value
        case LongInteger():
            raise Unfit(path, "expected a number that a double holds exactly; got a longer one")
        case int() | float():
            if not math.isfinite(value) or (isinstance(value, int) and abs(value) > EXACT):
                raise Unfit(path, "expected a finite number that a double holds exactly")
            message.number_value = value
        case str():
            message.string_value = value
        case datetime() | date() | time():
            message.string_value = value.isoformat()
        case Decimal() | UUID():
            message.string_value = str(value)
        case bytes():
            message.string_value = base64.b64encode(value).decode()
        case dict():
            message.struct_value.SetInParent()
            _struct(message.struct_value, value, path)
        case list():
            message.list_value.SetInParent()
            _list(message.list_value, value, path)
        case _:
            raise Unfit(path, f"expected a value that JSON can hold; got {kind(value)}")


WELL_KNOWN: Mapping[str, Callable[[Message, Any, str], None]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": _list,
    "google.protobuf.Value": _value,
}
