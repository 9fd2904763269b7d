"""Maps a JSON value to a scalar field. Pure."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from google.protobuf.descriptor import FieldDescriptor

from forebay.routes.plain_forms import enum_form
from forebay_gateway.plain.mapping.celery_json import LongInteger, kind

_MAX_INT_DIGITS = 4300  # Python refuses to parse longer integers
_FLOAT_MAX = 3.4028235677973366e38  # from here on, values round to more than the largest float


class Unfit(ValueError):
    """A value does not fit the response. The message names the field, and never the value."""

    def __init__(self, path: str, problem: str) -> None:
        where = path.removeprefix(".")
        super().__init__(f"{where}: {problem}" if where else problem)


def scalar(field: FieldDescriptor, value: Any, path: str) -> Any:
    """Converts the value for the field; raises Unfit."""
    if field.enum_type is not None:
        return _enum(field, value, path)
    return _READERS[field.cpp_type if not _is_bytes(field) else _BYTES](field, value, path)


def _is_bytes(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_BYTES


def _integer(bits: int, *, signed: bool) -> Callable[[FieldDescriptor, Any, str], int]:
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    name = f"a {bits}-bit integer" if signed else f"an unsigned {bits}-bit integer"

    def read(_: FieldDescriptor, value: Any, path: str) -> int:
        number = _as_integer(value)
        if number is None:
            raise Unfit(path, f"expected {name}; got {kind(value)}")
        if not least <= number <= most:
            raise Unfit(path, f"expected {name}; got one out of range")
        return number

    return read


def _as_integer(value: Any) -> int | None:
    """The value if it is a whole number, also as a float or as text; else None."""
    if isinstance(value, str) and _is_decimal(value):
        return int(value)
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_decimal(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and len(digits) <= 20


def _double(field: FieldDescriptor, value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise Unfit(path, f"expected a number; got {kind(value)}")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise Unfit(path, f"expected a number; got {kind(value)}") from None
    too_large = isinstance(value, (int, LongInteger)) and math.isinf(number)
    if field.type == FieldDescriptor.TYPE_FLOAT and math.isfinite(number):
        too_large = abs(number) >= _FLOAT_MAX
    if too_large:
        raise Unfit(path, "expected a number that the field can hold; got a larger one")
    return number


def _bool(_: FieldDescriptor, value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise Unfit(path, f"expected a boolean; got {kind(value)}")
    return value


def _string(_: FieldDescriptor, value: Any, path: str) -> str:
    match value:
        case str():
            text = str(value)
        case datetime() | date() | time():
            text = value.isoformat()
        case bool() | float():
            raise Unfit(path, f"expected a string; got {kind(value)}")
        case int() | Decimal() | UUID():
            text = str(value)
        case _:
            raise Unfit(path, f"expected a string; got {kind(value)}")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise Unfit(path, "expected a string of Unicode; got one with half a surrogate pair")
    return text


def _bytes(_: FieldDescriptor, value: Any, path: str) -> bytes:
    if isinstance(value, LongInteger) and len(value) <= _MAX_INT_DIGITS:
        value = int(value)
    if isinstance(value, bytes):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value.to_bytes((value.bit_length() + 7) // 8, "big")
    if isinstance(value, str) and not isinstance(value, LongInteger):
        try:
            return base64.b64decode(value.translate(_URL_SAFE), validate=True)
        except (binascii.Error, ValueError):
            raise Unfit(path, "expected bytes or base64; got another string") from None
    raise Unfit(path, f"expected bytes or base64; got {kind(value)}")


def _enum(field: FieldDescriptor, value: Any, path: str) -> int:
    enum: Any = field.enum_type
    form = enum_form(enum)
    if form is not None and isinstance(value, (str, int)) and not isinstance(value, bool):
        number = form.numbers.get(value)
        if number is not None:
            return number
        if isinstance(value, int):
            raise Unfit(path, f"expected a value of {enum.full_name}; got another number")
    if isinstance(value, str) and value in enum.values_by_name:
        return int(enum.values_by_name[value].number)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit(path, f"expected a name or number of {enum.full_name}; got {kind(value)}")
    if not -(1 << 31) <= value < 1 << 31 or (enum.is_closed and value not in enum.values_by_number):
        raise Unfit(path, f"expected a number of {enum.full_name}; got another")
    return value


_URL_SAFE = str.maketrans("-_", "+/")
_BYTES = -1
_READERS: Mapping[int, Callable[[FieldDescriptor, Any, str], Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _integer(32, signed=True),
    FieldDescriptor.CPPTYPE_INT64: _integer(64, signed=True),
    FieldDescriptor.CPPTYPE_UINT32: _integer(32, signed=False),
    FieldDescriptor.CPPTYPE_UINT64: _integer(64, signed=False),
    FieldDescriptor.CPPTYPE_DOUBLE: _double,
    FieldDescriptor.CPPTYPE_FLOAT: _double,
    FieldDescriptor.CPPTYPE_BOOL: _bool,
    FieldDescriptor.CPPTYPE_STRING: _string,
    _BYTES: _bytes,
}
