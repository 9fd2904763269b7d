"""Response messages of any method, as a gateway's call service tells them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

COMPILED: Sequence[DescriptorPool] = (descriptor_pool.Default(),)
"""Where the types of imported modules are found."""


def unpacked(packed: any_pb2.Any, pools: Sequence[DescriptorPool] = COMPILED) -> Message | None:
    """The message, where its type is in one of the pools."""
    for pool in pools:
        try:
            descriptor = pool.FindMessageTypeByName(packed.TypeName())
            return message_factory.GetMessageClass(descriptor).FromString(packed.value)
        except (KeyError, DecodeError):
            continue
    return None


def as_json(packed: any_pb2.Any, pools: Sequence[DescriptorPool] = COMPILED) -> dict[str, Any]:
    """The message's fields; its bytes in base64 where its type is not known here."""
    message = unpacked(packed, pools)
    if message is None:
        return {"@type": packed.type_url, "value": b64encode(packed.value).decode()}
    return as_dict(message)


def as_dict(message: Message, *, defaults: bool = False) -> dict[str, Any]:
    """The message in the JSON mapping, under the fields' own names; with `defaults` all of them.

    What is in an `Any` is looked up where the message's own type comes from.
    """
    pool: Any = message.DESCRIPTOR.file.pool  # typed as the implementation's, or Python's
    fields: dict[str, Any] = json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=defaults,
        descriptor_pool=pool,
    )
    return fields


def fraction_of(packed: any_pb2.Any, pools: Sequence[DescriptorPool] = COMPILED) -> float | None:
    """How far a call is, where a transient item says so: a message in it with a `fraction`."""
    message = unpacked(packed, pools)
    for field, value in message.ListFields() if message is not None else ():
        if field.message_type is not None and not isinstance(value, Message):
            continue  # a repeated field
        if field.message_type is not None and "fraction" in field.message_type.fields_by_name:
            return float(value.fraction)
        if field.name == "fraction":
            return float(value)
    return None
