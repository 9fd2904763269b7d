"""How a plain task sees messages and enums: the options of `forebay/v1/plain.proto`. Pure.

The options are read once for each descriptor, because every call of a plain task needs them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from forebay.v1 import plain_pb2 as pb

_CACHED_DESCRIPTORS = 4096
PythonValue: TypeAlias = str | int


@dataclass(frozen=True)
class FieldForm:
    """A field as the task sees it; `name` is the parameter's, or the key in the dict."""

    field: FieldDescriptor
    name: str
    type: pb.PlainType.ValueType
    unset: pb.PlainUnset.ValueType


@dataclass(frozen=True)
class MessageForm:
    """A message as the task sees it. `by_key` has the field for each key that a result may have."""

    shape: pb.PlainShape.ValueType
    fields: tuple[FieldForm, ...]
    by_key: Mapping[str, FieldForm]


@dataclass(frozen=True)
class EnumForm:
    """The Python values of an enum's numbers, and the numbers of its Python values."""

    values: Mapping[int, PythonValue]
    numbers: Mapping[PythonValue, int]


@lru_cache(_CACHED_DESCRIPTORS)
def message_form(descriptor: Descriptor) -> MessageForm:
    """The form of a message."""
    fields = tuple(_field_form(field) for field in cast("Any", descriptor).fields)
    keys: dict[str, FieldForm] = {}
    for key_of in (_python_name, _own_name, _camel_case_name):
        for form in fields:
            keys.setdefault(key_of(form), form)
    option: pb.PlainMessage = descriptor.GetOptions().Extensions[pb.plain_message]
    return MessageForm(option.shape, fields, keys)


@lru_cache(_CACHED_DESCRIPTORS)
def enum_form(descriptor: EnumDescriptor) -> EnumForm | None:
    """The form of an enum; None if the task sees the names of its values."""
    values = dict(_python_values(descriptor))
    return EnumForm(values, {value: number for number, value in values.items()}) if values else None


def _python_values(descriptor: EnumDescriptor) -> Iterator[tuple[int, PythonValue]]:
    for value in cast("Any", descriptor).values:
        option: pb.PlainValue = value.GetOptions().Extensions[pb.plain_value]
        kind = option.WhichOneof("value")
        if kind is not None:
            yield value.number, getattr(option, kind)


def _field_form(field: FieldDescriptor) -> FieldForm:
    option: pb.PlainField = field.GetOptions().Extensions[pb.plain_field]
    return FieldForm(field, option.name or field.name, option.type, option.unset)


def _python_name(form: FieldForm) -> str:
    return form.name


def _own_name(form: FieldForm) -> str:
    return form.field.name


def _camel_case_name(form: FieldForm) -> str:
    return str(form.field.camelcase_name)
