"""A `.proto` file with its comments, as `buf` reads it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[2]
_TYPES = descriptor_pb2.FieldDescriptorProto.Type

# Numbers of fields in descriptor.proto: the path to a comment is made of them.
_MESSAGE, _ENUM, _FIELD, _VALUE = 4, 5, 2, 2

Comments: TypeAlias = Mapping[tuple[int, ...], str]


@dataclass(frozen=True)
class Entry:
    """A field or an enum's value; `type` is empty for a value."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Declared:
    """A message or an enum, with its entries in the file's order."""

    name: str
    comment: str
    entries: tuple[Entry, ...]


@cache
def declared(file: str) -> tuple[Declared, ...]:
    """The messages, then the enums that a file below `protos` declares at its top."""
    (found,) = [one for one in _image().file if one.name == file]
    comments: Comments = {
        tuple(place.path): place.leading_comments for place in found.source_code_info.location
    }
    return (*_messages(found, comments), *_enums(found, comments))


@cache
def _image() -> descriptor_pb2.FileDescriptorSet:
    buf = Path(sys.executable).parent / "buf"
    built = subprocess.run(
        [buf, "build", ROOT / "protos", "-o", "-#format=binpb"], stdout=subprocess.PIPE, check=True
    )
    return descriptor_pb2.FileDescriptorSet.FromString(built.stdout)


def _messages(file: descriptor_pb2.FileDescriptorProto, comments: Comments) -> Iterator[Declared]:
    for number, message in enumerate(file.message_type):
        path = (_MESSAGE, number)
        entries = tuple(
            Entry(field.name, _type(field), comments[*path, _FIELD, index])
            for index, field in enumerate(message.field)
        )
        yield Declared(message.name, comments[path], entries)


def _enums(file: descriptor_pb2.FileDescriptorProto, comments: Comments) -> Iterator[Declared]:
    for number, enum in enumerate(file.enum_type):
        path = (_ENUM, number)
        entries = tuple(
            Entry(value.name, "", comments[*path, _VALUE, index])
            for index, value in enumerate(enum.value)
        )
        yield Declared(enum.name, comments[path], entries)


def _type(field: descriptor_pb2.FieldDescriptorProto) -> str:
    name = field.type_name.rpartition(".")[2] or _TYPES.Name(field.type)[5:].lower()
    repeated = field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    return f"repeated {name}" if repeated else name
