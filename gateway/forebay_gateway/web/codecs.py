"""The two encodings of messages: protobuf's binary one, and JSON."""

from __future__ import annotations

import json
from typing import Any, cast

from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from forebay.errors import InternalFault, InvalidRequest
from forebay_gateway.web.large_work import worked
from forebay_gateway.web.methods import WebMethod
from forebay_gateway.web.unknown_types import without_unknown_types


class Codec:
    """Binary: handlers take and return it as it is."""

    name = "proto"

    def request_now(self, method: WebMethod, data: bytes) -> bytes:
        """The request in binary; raises InvalidRequest."""
        return data

    async def request(self, method: WebMethod, data: bytes) -> bytes:
        """Like `request_now`; large ones in a thread."""
        return data

    async def response(self, method: WebMethod, message: bytes) -> bytes:
        """The handler's response as the caller wants it; raises InternalFault if it can't be."""
        return message


class JsonCodec(Codec):
    """JSON, by https://protobuf.dev/programming-guides/json/.

    Fields that a message does not have are ignored, as in the binary encoding, and as Connect's
    own servers do. An empty text is an empty message.
    """

    name = "json"

    def request_now(self, method: WebMethod, data: bytes) -> bytes:
        return from_json(data, method.request_class)

    async def request(self, method: WebMethod, data: bytes) -> bytes:
        return await worked(len(data), from_json, data, method.request_class)

    async def response(self, method: WebMethod, message: bytes) -> bytes:
        return await worked(len(message), to_json, message, method.response_class)


_WELL_KNOWN = "google.protobuf."
"""Messages of this package have JSON forms of their own."""
_WITH_OTHERS = ("google.longrunning.", "forebay.v1.")
"""Messages that hold those of others, of any type: one of them must not hide a list of calls."""

PROTO, JSON = Codec(), JsonCodec()
JSON_TYPE = "application/json"
BY_NAME = {codec.name: codec for codec in (PROTO, JSON)}


def from_json(text: bytes, message_class: type[Message]) -> bytes:
    """The message in binary; raises InvalidRequest."""
    if not text:
        return b""
    name = message_class.DESCRIPTOR.full_name
    if not (text.lstrip().startswith(b"{") or name.startswith(_WELL_KNOWN)):
        raise InvalidRequest(f"the request is not a {name} message in JSON: expected an object")
    try:
        message = json_format.Parse(
            text, message_class(), ignore_unknown_fields=True, descriptor_pool=_pool(message_class)
        )
    except (json_format.ParseError, ValueError, RecursionError, TypeError) as error:
        raise InvalidRequest(f"the request is not a {name} message in JSON: {error}") from error
    return message.SerializeToString()


def to_json(message: bytes, message_class: type[Message]) -> bytes:
    """The message in JSON, on one line; raises InternalFault."""
    return json.dumps(to_dict(message, message_class), ensure_ascii=False).encode()


def to_dict(message: bytes, message_class: type[Message]) -> Any:
    """The value of the message's JSON; raises InternalFault."""
    pool, name = _pool(message_class), message_class.DESCRIPTOR.full_name
    try:
        parsed = message_class.FromString(message)
        try:
            return json_format.MessageToDict(parsed, descriptor_pool=pool)
        except (DecodeError, TypeError, ValueError):
            if not name.startswith(_WITH_OTHERS):
                raise
            known = without_unknown_types(parsed, pool)
            return json_format.MessageToDict(known, descriptor_pool=pool)
    except (DecodeError, ValueError, TypeError) as error:
        raise InternalFault(f"the response, a {name}, can't be written as JSON") from error


def _pool(message_class: type[Message]) -> DescriptorPool:
    """Where the types of `google.protobuf.Any` are looked up."""
    return cast(DescriptorPool, message_class.DESCRIPTOR.file.pool)
