"""Problems of the options of `forebay/v1/plain.proto`, and of `args` and `kwargs`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor

from forebay.routes.plain import PlainTask
from forebay.routes.plain_forms import FieldForm, enum_form, message_form
from forebay.v1 import plain_pb2 as pb

_STRUCT = "google.protobuf.Struct"


def plain_form_problems(method: MethodDescriptor, plain: PlainTask) -> Iterator[str]:
    """A line for each problem, of the method's messages at any depth."""
    request = method.input_type
    yield from _variadic_problems(request, plain)
    if message_form(request).shape:
        yield f"{request.full_name} has a `plain_message.shape`, but its fields are the arguments"
    messages: dict[str, Descriptor] = {}
    enums: dict[str, EnumDescriptor] = {}
    for message in (request, method.output_type):
        _gather(message, messages, enums)
    for message in messages.values():
        yield from _message_problems(message)
    for enum in enums.values():
        yield from _enum_problems(enum)


def _variadic_problems(request: Descriptor, plain: PlainTask) -> Iterator[str]:
    fields: Any = request.fields_by_name
    if plain.args and not (plain.args in fields and _is_list(fields[plain.args])):
        yield (
            f"`plain.args` names {plain.args!r}, which is not a repeated field of "
            f"{request.full_name}"
        )
    if plain.kwargs and not (plain.kwargs in fields and _is_dict(fields[plain.kwargs])):
        yield (
            f"`plain.kwargs` names {plain.kwargs!r}, which is neither a map with string keys "
            f"nor a Struct of {request.full_name}"
        )
    names = (*plain.positional, plain.args, plain.kwargs)
    for name in sorted({name for name in (plain.args, plain.kwargs) if name}):
        if names.count(name) > 1:
            yield f"`plain` names {name!r} twice in `positional`, `args` and `kwargs`"


def _is_list(field: FieldDescriptor) -> bool:
    return field.is_repeated and _entry(field) is None


def _is_dict(field: FieldDescriptor) -> bool:
    entry: Any = _entry(field)
    if entry is None:
        message = field.message_type
        return message is not None and message.full_name == _STRUCT and not field.is_repeated
    return bool(entry.fields_by_name["key"].type == FieldDescriptor.TYPE_STRING)


def _entry(field: FieldDescriptor) -> Descriptor | None:
    """The message of a map's entries."""
    message = field.message_type
    return message if message is not None and message.GetOptions().map_entry else None


def _gather(
    message: Descriptor, messages: dict[str, Descriptor], enums: dict[str, EnumDescriptor]
) -> None:
    """Adds the message, and the messages and enums of its fields."""
    if message.full_name in messages:
        return
    messages[message.full_name] = message
    for field in message.fields:
        if field.message_type is not None:
            _gather(field.message_type, messages, enums)
        if field.enum_type is not None:
            enums[field.enum_type.full_name] = field.enum_type


def _message_problems(message: Descriptor) -> Iterator[str]:
    form = message_form(message)
    if form.shape not in pb.PlainShape.values():
        yield f"{message.full_name} has a `plain_message.shape` of {form.shape}, which is none"
    if form.shape == pb.PLAIN_SHAPE_VALUE and len(form.fields) != 1:
        yield (
            f"{message.full_name} stands for the value of its only field, but it has "
            f"{len(form.fields)} fields"
        )
    for name, count in Counter(field.name for field in form.fields).items():
        if count > 1:
            yield f"{message.full_name} has {count} fields that stand for {name!r}"
    for field in form.fields:
        yield from _field_problems(field)


def _field_problems(form: FieldForm) -> Iterator[str]:
    field = form.field
    entry: Any = _entry(field)
    kind = field.type if entry is None else entry.fields_by_name["value"].type
    if form.type not in pb.PlainType.values():
        yield f"{field.full_name} has a `plain_field.type` of {form.type}, which is none"
    elif form.type and kind != FieldDescriptor.TYPE_STRING:
        yield f"{field.full_name} has a `plain_field.type`, which is for strings; remove it"
    if form.unset not in pb.PlainUnset.values():
        yield f"{field.full_name} has a `plain_field.unset` of {form.unset}, which is none"


def _enum_problems(enum: EnumDescriptor) -> Iterator[str]:
    form = enum_form(enum)
    if form is None:
        return
    numbers = {value.number: value.name for value in enum.values}
    lacking = [name for number, name in numbers.items() if number and number not in form.values]
    if lacking:
        yield f"{enum.full_name}: {', '.join(lacking)} has no `plain_value`, but other values do"
    for value, count in Counter(form.values.values()).items():
        if count > 1:
            yield f"{enum.full_name} has {count} values that stand for {value!r}"
