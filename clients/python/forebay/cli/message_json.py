"""Response messages as JSON."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

COMPILED: Sequence[DescriptorPool] = (descriptor_pool.Default(),)
"""Protobuf's default pool, which has the messages of all imported `_pb2` modules."""


def unpacked(packed: any_pb2.Any, pools: Sequence[DescriptorPool] = COMPILED) -> Message | None:
    """The message; None if none of the pools has its type."""
    for pool in pools:
        try:
            descriptor = pool.FindMessageTypeByName(packed.TypeName())
            return message_factory.GetMessageClass(descriptor).FromString(packed.value)
        except (KeyError, DecodeError):
            continue
    return None


def as_json(packed: any_pb2.Any, pools: Sequence[DescriptorPool] = COMPILED) -> dict[str, Any]:
    """The message's fields; its bytes in base64 if none of the pools has its type."""
    message = unpacked(packed, pools)
    if message is None:
        return {"@type": packed.type_url, "value": b64encode(packed.value).decode()}
    return as_dict(message)


def as_dict(message: Message, *, defaults: bool = False) -> dict[str, Any]:
    """The message in protobuf's JSON mapping; with `defaults`, unset fields are included.

    Fields keep the names of the .proto file. The type of an `Any` is looked up in the pool of the
    message itself.
    """
    pool: Any = message.DESCRIPTOR.file.pool  # its type depends on protobuf's implementation
    fields: dict[str, Any] = json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=defaults,
        descriptor_pool=pool,
    )
    return fields


def fraction_of(packed: any_pb2.Any, pools: Sequence[DescriptorPool] = COMPILED) -> float | None:
    """The progress in a transient item, from 0 to 1; None if the item has none.

    Progress is the field `fraction` of the item, or of a message in the item.
    """
    message = unpacked(packed, pools)
    for field, value in message.ListFields() if message is not None else ():
        if field.message_type is not None and not isinstance(value, Message):
            continue  # a repeated field or a map
        if field.message_type is not None and "fraction" in field.message_type.fields_by_name:
            return float(value.fraction)
        if field.name == "fraction":
            return float(value)
    return None
