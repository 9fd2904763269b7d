"""Maps Python types to scalars and to messages of `google.protobuf`. Pure."""

from __future__ import annotations

import collections
from collections import abc
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Flag
from uuid import UUID

from pydantic import TypeAdapter

from forebay_gateway.cli.import_app.proto import Scalar

VALUE = Scalar("google.protobuf.Value")
STRUCT = Scalar("google.protobuf.Struct")
STRING, INT, DOUBLE, BYTES, BOOL = (
    Scalar(name) for name in ("string", "int64", "double", "bytes", "bool")
)

# A class comes before its bases: bool is an int, and datetime a date.
_SCALARS: Sequence[tuple[type, Scalar]] = (
    (Flag, INT),
    (bool, BOOL),
    (int, INT),
    (float, DOUBLE),
    (str, STRING),
    (bytes, BYTES),
    (bytearray, BYTES),
    (memoryview, BYTES),
    (datetime, Scalar("google.protobuf.Timestamp")),
    (date, Scalar("string", "DATE")),
    (time, Scalar("string", "TIME")),
    (timedelta, Scalar("google.protobuf.Duration")),
    (Decimal, Scalar("string", "DECIMAL")),
    (UUID, Scalar("string", "UUID")),
)
_LISTS = frozenset(
    {
        *(abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet, abc.Collection, abc.Iterable),
        *(list, set, frozenset, collections.deque),
    }
)
_OF_JSON_SCHEMA = {
    "string": STRING,
    "integer": INT,
    "number": DOUBLE,
    "boolean": BOOL,
}


def scalar_of(cls: type) -> Scalar | None:
    """The protobuf type for a class in `_SCALARS`, or a subclass of one; None for others."""
    return next((scalar for known, scalar in _SCALARS if issubclass(cls, known)), None)


def is_list(cls: type) -> bool:
    """Whether the class is a list in JSON."""
    return cls in _LISTS or issubclass(cls, (list, set, frozenset, collections.deque))


def scalar_by_json_schema(cls: type) -> Scalar | None:
    """The type for a class that pydantic writes as a scalar, such as `pathlib.Path`; else None."""
    try:
        schema = TypeAdapter(cls).json_schema(mode="serialization")
    except Exception:  # pydantic runs code of the application
        schema = {}
    return _OF_JSON_SCHEMA.get(str(schema.get("type")))
