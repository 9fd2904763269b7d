"""Paths of fields in a message or its singular submessages, such as "random.seed". Pure."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from forebay.routes.fields import suggestion


def path_problem(message: Descriptor, path: str) -> str:
    """Why the path names no field of the message; empty if it does."""
    *outer, name = path.split(".")
    for part in outer:
        field = message.fields_by_name.get(part)
        if field is None:
            return _no_field(message, part)
        if field.message_type is None or field.is_repeated:
            return f"{field.full_name} is not a single message, so nothing within it can be named"
        message = field.message_type
    return "" if name in message.fields_by_name else _no_field(message, name)


def clear_field(message: Message, path: str) -> None:
    """Clears the field at the path; the messages that contain it are kept."""
    holder, name = _holder(message, path)
    if holder is not None:
        holder.ClearField(name)


def is_set(message: Message, path: str) -> bool:
    """Whether the field at the path is present or, without presence, not the default."""
    holder, name = _holder(message, path)
    if holder is None:
        return False
    if holder.DESCRIPTOR.fields_by_name[name].has_presence:
        return holder.HasField(name)
    return bool(getattr(holder, name))


def _holder(message: Message, path: str) -> tuple[Message | None, str]:
    """The message that contains the path's last field (None if unset), and the field's name."""
    *outer, name = path.split(".")
    for part in outer:
        if not message.HasField(part):
            return None, name
        message = getattr(message, part)
    return message, name


def _no_field(message: Descriptor, name: str) -> str:
    hint = suggestion(name, message.fields_by_name)
    return f"{message.full_name} has no field {name!r}{hint}"
