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

# Field numbers in descriptor.proto, of which a comment's path consists.
_MESSAGE, _ENUM, _SERVICE, _SYNTAX = 4, 5, 6, 12
_ENTRY = 2  # a message's field, an enum's value, a service's method

Comments: TypeAlias = Mapping[tuple[int, ...], str]


@dataclass(frozen=True)
class Entry:
    """A service's method, a message's field or an enum's value.

    A method's `type` names its request and its response; an enum value's is empty.
    """

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Declared:
    """A service, a message or an enum, with its entries in the file's order.

    `kind` says what its entries are: method, field or value.
    """

    kind: str
    name: str
    comment: str
    entries: tuple[Entry, ...]


@cache
def declared(file: str) -> tuple[Declared, ...]:
    """The top-level services, then messages, then enums of a file, whose path is below `protos`."""
    found = _found(file)
    comments = _comments(found)
    return (
        *_services(found, comments),
        *_messages(found, comments),
        *_enums(found, comments),
    )


def about(file: str) -> str:
    """The comment above the `syntax` of a file, whose path is below `protos`."""
    return _comments(_found(file))[_SYNTAX,]


def _found(file: str) -> descriptor_pb2.FileDescriptorProto:
    (found,) = [one for one in _image().file if one.name == file]
    return found


def _comments(file: descriptor_pb2.FileDescriptorProto) -> Comments:
    places = file.source_code_info.location
    return {tuple(place.path): place.leading_comments for place in places}


@cache
def _image() -> descriptor_pb2.FileDescriptorSet:
    buf = Path(sys.executable).parent / "buf"
    built = subprocess.run(
        [buf, "build", ROOT / "protos", "-o", "-#format=binpb"], stdout=subprocess.PIPE, check=True
    )
    return descriptor_pb2.FileDescriptorSet.FromString(built.stdout)


def _services(file: descriptor_pb2.FileDescriptorProto, comments: Comments) -> Iterator[Declared]:
    for number, service in enumerate(file.service):
        path = (_SERVICE, number)
        entries = tuple(
            Entry(method.name, _signature(method), comments[*path, _ENTRY, index])
            for index, method in enumerate(service.method)
        )
        yield Declared("method", service.name, comments[path], entries)


def _messages(file: descriptor_pb2.FileDescriptorProto, comments: Comments) -> Iterator[Declared]:
    for number, message in enumerate(file.message_type):
        path = (_MESSAGE, number)
        entries = tuple(
            Entry(field.name, _type(field), comments[*path, _ENTRY, index])
            for index, field in enumerate(message.field)
        )
        yield Declared("field", message.name, comments[path], entries)


def _enums(file: descriptor_pb2.FileDescriptorProto, comments: Comments) -> Iterator[Declared]:
    for number, enum in enumerate(file.enum_type):
        path = (_ENUM, number)
        entries = tuple(
            Entry(value.name, "", comments[*path, _ENTRY, index])
            for index, value in enumerate(enum.value)
        )
        yield Declared("value", enum.name, comments[path], entries)


def _type(field: descriptor_pb2.FieldDescriptorProto) -> str:
    name = field.type_name.rpartition(".")[2] or _TYPES.Name(field.type)[5:].lower()
    repeated = field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    return f"repeated {name}" if repeated else name


def _signature(method: descriptor_pb2.MethodDescriptorProto) -> str:
    request, response = (
        f"{'stream ' if streams else ''}{name.rpartition('.')[2]}"
        for streams, name in (
            (method.client_streaming, method.input_type),
            (method.server_streaming, method.output_type),
        )
    )
    return f"{request} → {response}"
