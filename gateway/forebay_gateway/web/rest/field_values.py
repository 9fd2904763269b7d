"""Sets fields of a request from texts, by protobuf's JSON mapping. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from forebay_gateway.web.rest.field_paths import FieldPath, is_bool

_BOOLS = {"true": True, "false": False}


class FieldValueError(ValueError):
    """The text is not a value of the field; the message has the reason."""


def set_texts(request: Message, path: FieldPath, texts: Sequence[str]) -> None:
    """Sets the field to the text; to all of them if it is repeated.

    Raises FieldValueError if a text is not a value of the field's type, if there are several for a
    field that is not repeated, and if another field of its oneof is set.
    """
    field = path[-1]
    if len(texts) != 1 and not field.is_repeated:
        raise FieldValueError(f"is given {len(texts)} times; expected once")
    parent = request
    for step in path:
        _check_oneof(parent, step)
        if step is not field:
            parent = getattr(parent, step.name)
    value: Any = [_json_of(field, text) for text in texts]
    if not field.is_repeated:
        (value,) = value
    try:
        json_format.ParseDict({field.name: value}, parent)
    except json_format.ParseError:
        shown = ", ".join(repr(text[:100]) for text in texts[:3])
        raise FieldValueError(f"is {shown}; expected {_expected(field)}") from None


def _check_oneof(parent: Message, field: FieldDescriptor) -> None:
    oneof = field.containing_oneof
    other = None if oneof is None else parent.WhichOneof(oneof.name)
    if other not in (None, field.name):
        raise FieldValueError(f"excludes {other}, which is set, too")


def _json_of(field: FieldDescriptor, text: str) -> Any:
    if not is_bool(field):
        return text
    if text not in _BOOLS:
        raise FieldValueError(f"is {text[:100]!r}; expected true or false")
    return _BOOLS[text]


def _expected(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        names = [value.name for value in field.enum_type.values]
        shown = ", ".join(names[:8])
        return f"one of {shown}{', …' if len(names) > 8 else ''}"
    if field.message_type is not None:
        return f"a {field.message_type.name} in JSON's form"
    return f"a value of type {_TYPES.get(field.type, 'string')}"


_TYPES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}
