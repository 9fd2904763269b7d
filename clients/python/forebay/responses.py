"""Response messages of any method, as a gateway's call service tells them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, Message


def unpacked(packed: any_pb2.Any) -> Message | None:
    """The message, where this process has imported its type."""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
        return message_factory.GetMessageClass(descriptor).FromString(packed.value)
    except (KeyError, DecodeError):
        return None


def as_json(packed: any_pb2.Any) -> dict[str, Any]:
    """The message's fields; its bytes in base64 where its type is not known here."""
    message = unpacked(packed)
    if message is None:
        return {"@type": packed.type_url, "value": b64encode(packed.value).decode()}
    fields: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return fields


def fraction_of(packed: any_pb2.Any) -> float | None:
    """How far a call is, where a transient item says so: a message in it with a `fraction`."""
    message = unpacked(packed)
    for field, value in message.ListFields() if message is not None else ():
        if field.message_type is not None and not isinstance(value, Message):
            continue  # a repeated field
        if field.message_type is not None and "fraction" in field.message_type.fields_by_name:
            return float(value.fraction)
        if field.name == "fraction":
            return float(value)
    return None
