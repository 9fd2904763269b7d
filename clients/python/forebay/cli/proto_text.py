"""A method and its messages in the syntax of .proto files, with full names. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
    OneofDescriptor,
)
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

Type = Descriptor | EnumDescriptor

_WELL_KNOWN = "google.protobuf"
_SCALARS = FieldDescriptorProto.Type.DESCRIPTOR.values_by_number


def method_text(method: MethodDescriptor) -> str:
    """The method, its messages, and the types of their fields, but no well-known types."""
    request, response = (
        f"{'stream ' * streams}{message.full_name}"
        for message, streams in (
            (method.input_type, method.client_streaming),
            (method.output_type, method.server_streaming),
        )
    )
    declared = f"rpc {method.full_name}({request}) returns ({response});"
    return "\n\n".join([declared, *map(_type_text, _types(method))])


def _types(method: MethodDescriptor) -> list[Type]:
    """The types that the method needs, each once: a message before the types of its fields."""
    found: dict[str, Type] = {}

    def visit(one: Type | None) -> None:
        if one is None or one.full_name in found or one.file.package == _WELL_KNOWN:
            return
        found[one.full_name] = one
        for field in one.fields if isinstance(one, Descriptor) else ():
            visit(field.message_type)
            visit(field.enum_type)

    visit(method.input_type)
    visit(method.output_type)
    return [one for one in found.values() if not _is_map_entry(one)]


def _is_map_entry(one: Type) -> bool:
    return isinstance(one, Descriptor) and one.GetOptions().map_entry


def _type_text(one: Type) -> str:
    if isinstance(one, Descriptor):
        return _block(f"message {one.full_name}", _members(one))
    values = (f"{value.name} = {value.number};" for value in one.values)
    return _block(f"enum {one.full_name}", values)


def _members(message: Descriptor) -> Iterator[str]:
    """The fields in order of declaration; those of a oneof are one block."""
    shown: set[str] = set()
    for field in message.fields:
        oneof = _oneof(field)
        if oneof is None:
            yield _field_text(field)
        elif oneof.name not in shown:
            shown.add(oneof.name)
            yield from _block(f"oneof {oneof.name}", map(_field_text, oneof.fields)).splitlines()


def _oneof(field: FieldDescriptor) -> OneofDescriptor | None:
    """The oneof that the .proto file declares; an `optional` field has one of its own."""
    return None if _is_optional(field) else field.containing_oneof


def _is_optional(field: FieldDescriptor) -> bool:
    oneof = field.containing_oneof
    return oneof is not None and len(oneof.fields) == 1 and oneof.name == f"_{field.name}"


def _field_text(field: FieldDescriptor) -> str:
    label = "optional " * _is_optional(field)
    entry = field.message_type
    if entry is not None and _is_map_entry(entry):
        key, value = entry.fields
        kind = f"map<{_kind(key)}, {_kind(value)}>"
    else:
        label += "repeated " * field.is_repeated
        kind = _kind(field)
    return f"{label}{kind} {field.name} = {field.number};"


def _kind(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    if named is not None:
        return named.full_name
    name: str = _SCALARS[field.type].name
    return name.removeprefix("TYPE_").lower()


def _block(head: str, lines: Iterator[str]) -> str:
    body = "".join(f"  {line}\n" for line in lines)
    return f"{head} {{\n{body}}}" if body else f"{head} {{}}"
