"""Messages and enums as JSON Schema, by protobuf's JSON mapping. Pure.

The schemas describe the JSON that this server writes; it also reads 64-bit integers as numbers,
fields by their names in the `.proto`, and null for unset fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from forebay_gateway.web.openapi.comments import Comments
from forebay_gateway.web.openapi.well_known import (
    BOOLEAN,
    BYTES,
    FLOAT,
    INT32,
    INT64,
    NUMBER,
    STRING,
    UINT32,
    UINT64,
    WELL_KNOWN,
    Schema,
)
from forebay_gateway.web.rest.field_paths import is_map

_PREFIX = "#/components/schemas/"
_SCALARS: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_DOUBLE: NUMBER,
    FieldDescriptor.TYPE_FLOAT: FLOAT,
    FieldDescriptor.TYPE_INT32: INT32,
    FieldDescriptor.TYPE_SINT32: INT32,
    FieldDescriptor.TYPE_SFIXED32: INT32,
    FieldDescriptor.TYPE_UINT32: UINT32,
    FieldDescriptor.TYPE_FIXED32: UINT32,
    FieldDescriptor.TYPE_INT64: INT64,
    FieldDescriptor.TYPE_SINT64: INT64,
    FieldDescriptor.TYPE_SFIXED64: INT64,
    FieldDescriptor.TYPE_UINT64: UINT64,
    FieldDescriptor.TYPE_FIXED64: UINT64,
    FieldDescriptor.TYPE_BOOL: BOOLEAN,
    FieldDescriptor.TYPE_STRING: STRING,
    FieldDescriptor.TYPE_BYTES: BYTES,
}
_Behavior = field_behavior_pb2.FieldBehavior


class Schemas:
    """Collects the schemas that a document refers to."""

    def __init__(self, comments: Comments) -> None:
        self._comments = comments
        self.by_name: dict[str, Schema] = {}

    def of_message(self, message: Descriptor) -> Schema:
        """A reference to the message's schema, or the schema itself if it is well known."""
        if message.full_name in WELL_KNOWN:
            return WELL_KNOWN[message.full_name]
        if message.full_name not in self.by_name:
            self.by_name[message.full_name] = {}  # messages may contain themselves
            self.by_name[message.full_name] = self._message(message)
        return {"$ref": f"{_PREFIX}{message.full_name}"}

    def of_field(self, field: FieldDescriptor) -> Schema:
        """The schema of the field's value, with its comment."""
        schema = self._value(field)
        described = {
            **self._described(field.full_name),
            **({"deprecated": True} if field.GetOptions().deprecated else {}),
            **_direction(field),
        }
        return {**schema, **described} if described else schema

    def of_element(self, field: FieldDescriptor) -> Schema:
        """The schema of one value; of a repeated field, that of one element."""
        message, enum = field.message_type, field.enum_type
        if message is not None:
            return self.of_message(message)
        return _SCALARS[field.type] if enum is None else self._enum(enum)

    def _value(self, field: FieldDescriptor) -> Schema:
        entry = field.message_type
        if entry is not None and is_map(field):
            value = entry.fields_by_name["value"]
            return {"type": "object", "additionalProperties": self.of_element(value)}
        element = self.of_element(field)
        return {"type": "array", "items": element} if field.is_repeated else element

    def _message(self, message: Descriptor) -> Schema:
        required = [field.json_name for field in message.fields if _is_required(field)]
        notes = [self._comments.get(message.full_name, ""), *self._oneof_notes(message)]
        description = "\n\n".join(note for note in notes if note)
        return {
            "type": "object",
            **({"description": description} if description else {}),
            "properties": {field.json_name: self.of_field(field) for field in message.fields},
            **({"required": required} if required else {}),
        }

    def _oneof_notes(self, message: Descriptor) -> list[str]:
        notes = []
        for oneof in message.oneofs:
            names = [f"`{field.json_name}`" for field in oneof.fields]
            if len(names) > 1:  # a field that is `optional` is in a oneof of its own
                notes.append(f"At most one of {', '.join(names)} is set.")
        return notes

    def _enum(self, enum: EnumDescriptor) -> Schema:
        name = enum.full_name
        if name in WELL_KNOWN:
            return WELL_KNOWN[name]
        if name not in self.by_name:
            values = [
                f"- `{value.name}`: {' '.join(comment.split())}"
                for value in enum.values
                if (comment := self._comments.get(f"{name}.{value.name}"))
            ]
            notes = [self._comments.get(name, ""), "\n".join(values)]
            description = "\n\n".join(note for note in notes if note)
            self.by_name[name] = {
                "type": "string",
                **({"description": description} if description else {}),
                "enum": [value.name for value in enum.values],
            }
        return {"$ref": f"{_PREFIX}{name}"}

    def _described(self, name: str) -> Schema:
        return {"description": self._comments[name]} if name in self._comments else {}


def _behaviors(field: FieldDescriptor) -> list[int]:
    """`google.api.field_behavior`; parsed again, for the reason given in `bindings.py`."""
    options = descriptor_pb2.FieldOptions.FromString(field.GetOptions().SerializeToString())
    found: Any = options.Extensions[field_behavior_pb2.field_behavior]
    return list(found)


def _is_required(field: FieldDescriptor) -> bool:
    return bool(field.is_required) or _Behavior.REQUIRED in _behaviors(field)


def _direction(field: FieldDescriptor) -> Schema:
    behaviors = _behaviors(field)
    return {
        **({"readOnly": True} if _Behavior.OUTPUT_ONLY in behaviors else {}),
        **({"writeOnly": True} if _Behavior.INPUT_ONLY in behaviors else {}),
    }
