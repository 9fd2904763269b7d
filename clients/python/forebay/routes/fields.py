"""Fills a protobuf message from a TOML table, and describes what it can't use. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
_DURATION = 'a duration, such as "60s" or "1.5s"'


def fill(
    message: Message, table: Mapping[str, Any], where: str = "", more_names: Iterable[str] = ()
) -> Iterator[str]:
    """Sets the fields that the table names; yields a line for each field that it can't set.

    `where` is the path of the message, with a dot at its end; `more_names` are further names to
    suggest.
    """
    fields: Mapping[str, Any] = message.DESCRIPTOR.fields_by_name
    for name, value in table.items():
        if name in fields:
            yield from _set(message, fields[name], value, f"{where}{name}")
        else:
            names = [*fields, *more_names]
            hint = suggestion(name, names) or f"; expected one of {', '.join(names)}"
            yield f"`{where}{name}` is not a field of a route{hint}"


def suggestion(name: object, names: Iterable[str]) -> str:
    """Such as "; did you mean `queue`?"; empty if none of the names is similar."""
    names = list(names)
    # A constant may be written by its last part: DETACH for ON_DISCONNECT_DETACH.
    close = [
        *get_close_matches(str(name), names, 1),
        *(one for one in names if one.endswith(f"_{name}")),
    ]
    return f"; did you mean `{close[0]}`?" if close else ""


def _set(message: Message, field: FieldDescriptor, value: Any, path: str) -> Iterator[str]:
    if not field.is_repeated:
        yield from _set_one(message, field, value, path)
        return
    if not isinstance(value, list):
        yield f"`{path}` is {value!r}; expected a list"
        return
    values = getattr(message, field.name)
    for number, element in enumerate(value):
        if field.message_type is not None:
            yield from _fill_inner(values.add(), element, f"{path}[{number}]")
        elif isinstance(element, str):  # the repeated fields of routes are texts and messages
            values.append(element)
        else:
            yield f"`{path}[{number}]` is {element!r}; expected a text"


def _set_one(message: Message, field: FieldDescriptor, value: Any, path: str) -> Iterator[str]:
    if field.message_type is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        yield from _fill_inner(inner, value, path)
        return
    if field.enum_type is not None:
        names = list(field.enum_type.values_by_name)
        if not isinstance(value, str) or value not in names:
            hint = suggestion(value, names)
            yield f"`{path}` is {value!r}; set one of {', '.join(names[1:])}{hint}"
            return
        setattr(message, field.name, field.enum_type.values_by_name[value].number)
    elif problem := _unfit(field, value):
        yield f"`{path}` is {value!r}; expected {problem}"
    else:
        setattr(message, field.name, value)


def _fill_inner(inner: Message, value: Any, path: str) -> Iterator[str]:
    expected = _DURATION if isinstance(inner, Duration) else "a table"
    if isinstance(inner, Duration) and isinstance(value, str):
        try:
            inner.FromJsonString(value)
        except ValueError:
            yield f"`{path}` is {value!r}; expected {expected}"
    elif isinstance(value, dict):
        yield from fill(inner, value, f"{path}.")
    else:
        yield f"`{path}` is {value!r}; expected {expected}"


def _unfit(field: FieldDescriptor, value: Any) -> str:
    """The kind of value that the field expects; empty if the value is of that kind."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return "" if isinstance(value, bool) else "true or false"
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "" if isinstance(value, str) else "a text"
    if isinstance(value, bool) or not isinstance(value, int):
        return "a whole number"
    least, most = _RANGES[field.cpp_type]
    return "" if least <= value <= most else f"{least} to {most}"
