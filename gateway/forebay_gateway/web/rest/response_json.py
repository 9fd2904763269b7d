"""The JSON of responses, whole or one field of them (`response_body`). Pure."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from forebay_gateway.web.codecs import to_dict, to_json
from forebay_gateway.web.rest.field_paths import is_map


def response_json(message: bytes, response_class: type[Message], response_body: str) -> bytes:
    """The response on one line; raises InternalFault if it can't be written as JSON."""
    if not response_body:
        return to_json(message, response_class)
    field: Any = response_class.DESCRIPTOR.fields_by_name[response_body]
    fields = to_dict(message, response_class)
    value = fields.get(field.json_name, _unset(field, response_class()))
    return json.dumps(value, ensure_ascii=False).encode()


def _unset(field: FieldDescriptor, empty: Message) -> Any:
    """The value of a field that the JSON of the whole response leaves out."""
    if field.has_presence:
        return {} if field.message_type is not None else None
    if field.is_repeated:
        return {} if is_map(field) else []
    unset = json_format.MessageToDict(empty, always_print_fields_with_no_presence=True)
    return unset[field.json_name]
