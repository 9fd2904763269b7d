"""Names and comments for protobuf types, and Python annotations as text. Pure."""

from __future__ import annotations

import typing
from enum import Enum
from typing import Any

from pydantic.fields import FieldInfo

from forebay_gateway.cli.import_app.classes import ClassField
from forebay_gateway.cli.import_app.names import camel_case
from forebay_gateway.cli.import_app.proto import Map, ProtoType, Repeated, Scalar

_LONGEST_DEFAULT = 60  # characters


def comment_of(one: ClassField, kind: ProtoType, untyped: str) -> str:
    text = one.comment or _description(one.annotation)
    if isinstance(one.default, Enum):
        text += f"\nDefault: {one.default.name}."
    elif isinstance(one.default, (int, float, str)) and len(repr(one.default)) <= _LONGEST_DEFAULT:
        text += f"\nDefault: {one.default!r}."
    elif isinstance(kind, (Repeated, Map)) and not one.required:
        text += "\nEmpty: the default applies."
    if untyped:
        text += f"\nAny JSON: {untyped}."
    return text.strip()


def _description(annotation: Any) -> str:
    """The first text in `Annotated`: from pydantic's `Field`, from `Doc`, or a plain string."""
    for note in getattr(annotation, "__metadata__", ()):
        text = note.description if isinstance(note, FieldInfo) else note
        text = getattr(text, "documentation", text)
        if isinstance(text, str):
            return text
    return ""


def path_of(cls: type) -> tuple[str, ...]:
    """The parts of the module's and the class's names, the outermost first."""
    path = f"{cls.__module__}.{cls.__qualname__}".replace(".<locals>", "")
    *modules, last = path.partition("[")[0].split(".")
    return (*modules, last + camel_case(path.partition("[")[2], "") if "[" in path else last)


def name_of(kind: ProtoType) -> str:
    """A name for a type, to be used in the names of messages."""
    if isinstance(kind, Repeated):
        return f"{name_of(kind.of)}List"
    if isinstance(kind, Map):
        return f"{name_of(kind.of)}Map"
    if isinstance(kind, Scalar):
        return camel_case(kind.plain_type.lower() or kind.proto.rpartition(".")[2], "Type")
    return camel_case(kind.parts[-1], "Type")


def short_name(annotation: Any) -> str:
    """A name for a type, without modules: ListOrder for `list[shop.Order]`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return short_name(arguments[0])
    name = getattr(origin or annotation, "__name__", str(origin or annotation))
    return camel_case(name, "Any") + "".join(short_name(one) for one in arguments)


def shown(annotation: Any) -> str:
    """The annotation as Python code."""
    if isinstance(annotation, tuple):
        return " | ".join(shown(one) for one in annotation)
    if annotation is type(None):
        return "None"
    name = getattr(annotation, "__qualname__", None) if not typing.get_args(annotation) else None
    return str(name or annotation).replace("typing.", "")
