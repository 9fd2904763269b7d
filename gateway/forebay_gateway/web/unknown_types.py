"""Turns each `Any` of an unknown type, which can't be written as JSON, into a `Struct`. Pure.

A handler's error may have details of a type that no service's file imports. Such an `Any` is
written as `{"@type": ".../google.protobuf.Struct", "value": {"type": URL, "value": BASE64}}`.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any, TypeVar

from google.protobuf import any_pb2, message_factory, struct_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

M = TypeVar("M", bound=Message)

_ANY = any_pb2.Any.DESCRIPTOR.full_name


def without_unknown_types(message: M, pool: DescriptorPool) -> M:
    """Replaces every `Any` of a type that is not in the pool, in place; returns the message."""
    if message.DESCRIPTOR.full_name == _ANY:
        _make_known(message, pool)
        return message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for key in value:
                    without_unknown_types(value[key], pool)
        elif field.is_repeated:
            for element in value:
                without_unknown_types(element, pool)
        else:
            without_unknown_types(value, pool)
    return message


def _make_known(any_: Any, pool: DescriptorPool) -> None:
    try:
        descriptor = pool.FindMessageTypeByName(any_.type_url.rpartition("/")[2])
        inner = message_factory.GetMessageClass(descriptor).FromString(any_.value)
    except (KeyError, DecodeError):
        struct = struct_pb2.Struct()
        struct.update({"type": any_.type_url, "value": b64encode(any_.value).decode()})
        any_.type_url = f"type.googleapis.com/{struct.DESCRIPTOR.full_name}"
        any_.value = struct.SerializeToString()
    else:
        any_.value = without_unknown_types(inner, pool).SerializeToString()
