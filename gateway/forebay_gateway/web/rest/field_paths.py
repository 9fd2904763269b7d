"""Fields of a request by their path, and which of them a text can set. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.descriptor import Descriptor, FieldDescriptor

MAX_DEPTH = 32

_WRITTEN_AS_TEXT = frozenset(
    f"google.protobuf.{name}"
    for name in (
        *("Timestamp", "Duration", "FieldMask", "DoubleValue", "FloatValue", "Int64Value"),
        *("UInt64Value", "Int32Value", "UInt32Value", "BoolValue", "StringValue", "BytesValue"),
    )
)


class FieldPathError(ValueError):
    """The path names no field that a text can set; the message has the reason."""


FieldPath = tuple[FieldDescriptor, ...]
"""The fields from the request down to one; all but the last are messages."""


def resolve(message: Descriptor, names: Sequence[str], *, json_names: bool = False) -> FieldPath:
    """The fields that the names stand for; with `json_names`, `pageSize` stands for `page_size`.

    Raises FieldPathError.
    """
    if len(names) > MAX_DEPTH:
        raise FieldPathError(f"has over {MAX_DEPTH} names")
    fields: list[FieldDescriptor] = []
    inside: Descriptor | None = message
    for number, name in enumerate(names):
        if inside is None or (fields and fields[-1].is_repeated):
            raise FieldPathError(f"{'.'.join(names[:number])} is not a single message")
        found = inside.fields_by_name.get(name)
        if found is None and json_names:
            found = inside.fields_by_camelcase_name.get(name) or _by_json_name(inside, name)
        if found is None:
            raise FieldPathError(f"{inside.full_name} has no field {name!r}")
        fields.append(found)
        inside = found.message_type
    return tuple(fields)


def is_map(field: FieldDescriptor) -> bool:
    entry = field.message_type
    return bool(field.is_repeated and entry is not None and entry.GetOptions().map_entry)


def is_text(field: FieldDescriptor) -> bool:
    """Whether a text can be the field's value, or that of each element if it is repeated."""
    kind = field.message_type
    if kind is None:
        return field.type != FieldDescriptor.TYPE_GROUP
    return kind.full_name in _WRITTEN_AS_TEXT


def is_bool(field: FieldDescriptor) -> bool:
    """Whether JSON has `true` and `false` for the field, which are not strings."""
    kind = field.message_type
    if kind is not None:
        return bool(kind.full_name == "google.protobuf.BoolValue")
    return bool(field.type == FieldDescriptor.TYPE_BOOL)


def _by_json_name(message: Descriptor, name: str) -> FieldDescriptor | None:
    """Finds a field by a `json_name` that is set in the `.proto`."""
    return next((field for field in message.fields if field.json_name == name), None)
