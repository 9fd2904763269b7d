"""The comments of `.proto` files, by the full names of what they describe. Pure.

Only descriptor sets can have them: buf always writes them, and protoc does with
`--include_source_info --descriptor_set_out=FILE`. Generated code and descriptor pools drop them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
)

Comments = Mapping[str, str]
Path = tuple[int, ...]

# Numbers of fields of descriptor.proto.
_OF_FILE_MESSAGE, _OF_FILE_ENUM, _OF_FILE_SERVICE = 4, 5, 6
_OF_MESSAGE_FIELD, _OF_MESSAGE_NESTED, _OF_MESSAGE_ENUM, _OF_MESSAGE_ONEOF = 2, 3, 4, 8
_OF_ENUM_VALUE = _OF_SERVICE_METHOD = 2


def comments_of(files: Iterable[FileDescriptorProto]) -> dict[str, str]:
    """The comments before and beside each declaration."""
    comments: dict[str, str] = {}
    for file in files:
        by_path = {
            tuple(place.path): _text(place.leading_comments) or _text(place.trailing_comments)
            for place in file.source_code_info.location
        }
        for name, path in _declarations(file):
            if by_path.get(path):
                comments[name] = by_path[path]
    return comments


def _text(comment: str) -> str:
    """The comment without the space that follows `//` on each line."""
    return "\n".join(line.removeprefix(" ").rstrip() for line in comment.splitlines()).strip()


def _declarations(file: FileDescriptorProto) -> Iterator[tuple[str, Path]]:
    scope = f"{file.package}." if file.package else ""
    for number, message in enumerate(file.message_type):
        yield from _message(f"{scope}{message.name}", message, (_OF_FILE_MESSAGE, number))
    for number, enum in enumerate(file.enum_type):
        yield from _enum(f"{scope}{enum.name}", enum, (_OF_FILE_ENUM, number))
    for number, service in enumerate(file.service):
        name, path = f"{scope}{service.name}", (_OF_FILE_SERVICE, number)
        yield name, path
        for index, method in enumerate(service.method):
            yield f"{name}.{method.name}", (*path, _OF_SERVICE_METHOD, index)


def _message(name: str, message: DescriptorProto, path: Path) -> Iterator[tuple[str, Path]]:
    yield name, path
    for number, field in enumerate(message.field):
        yield f"{name}.{field.name}", (*path, _OF_MESSAGE_FIELD, number)
    for number, oneof in enumerate(message.oneof_decl):
        yield f"{name}.{oneof.name}", (*path, _OF_MESSAGE_ONEOF, number)
    for number, nested in enumerate(message.nested_type):
        yield from _message(f"{name}.{nested.name}", nested, (*path, _OF_MESSAGE_NESTED, number))
    for number, enum in enumerate(message.enum_type):
        yield from _enum(f"{name}.{enum.name}", enum, (*path, _OF_MESSAGE_ENUM, number))


def _enum(name: str, enum: EnumDescriptorProto, path: Path) -> Iterator[tuple[str, Path]]:
    """Values by `ENUM.VALUE`: protobuf's full name of a value lacks the enum."""
    yield name, path
    for number, value in enumerate(enum.value):
        yield f"{name}.{value.name}", (*path, _OF_ENUM_VALUE, number)
