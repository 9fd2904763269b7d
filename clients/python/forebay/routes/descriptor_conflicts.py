"""Whether sources of services can be served side by side. Pure.

A gateway tells of what it serves under one name each: files by reflection, types in
`google.protobuf.Any`. So no two sources may say different things under one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

# Everybody has copies of these, of the version of their compiler; any will do.
_WELL_KNOWN = ("google/protobuf/", "forebay/v1/")
_MEND = "compile both from the same files"


def clashes(sources: Mapping[str, Iterable[FileDescriptor]]) -> list[str]:
    """A line for each name that stands for two things; `sources` are files by their source."""
    problems: list[str] = []
    file_of: dict[str, tuple[str, FileDescriptorProto]] = {}
    owner_of: dict[str, tuple[str, str]] = {}
    for source, files in sources.items():
        for file in with_dependencies(files):
            if file.name.startswith(_WELL_KNOWN):
                continue
            content = _content(file)
            known_by, known = file_of.setdefault(file.name, (source, content))
            if known != content:
                problems.append(
                    f"{file.name}: {source} and {known_by} have different versions of it; {_MEND}"
                )
            for symbol in _symbols(file):
                owner, owners_file = owner_of.setdefault(symbol, (source, file.name))
                if owners_file != file.name:
                    problems.append(
                        f"{file.name}: {symbol} is in {owners_file} of {owner}, too, "
                        f"under another file name; {_MEND}, from the same folder"
                    )
    return problems


def with_dependencies(
    files: Iterable[FileDescriptor], seen: set[str] | None = None
) -> Iterator[FileDescriptor]:
    """The files and what they import, each after what it imports; of two of a name the first.

    `seen` are the names of those that are left out; those of what is given are added.
    """
    seen = set() if seen is None else seen
    for file in files:
        if file.name not in seen:
            seen.add(file.name)
            yield from with_dependencies(file.dependencies, seen)
            yield file


def _symbols(file: FileDescriptor) -> Iterator[str]:
    for declared in (
        file.message_types_by_name,
        file.enum_types_by_name,
        file.services_by_name,
        file.extensions_by_name,
    ):
        yield from (one.full_name for one in declared.values())


def _content(file: FileDescriptor) -> FileDescriptorProto:
    """What the file says, without what compilers add as they like."""
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    proto.ClearField("source_code_info")
    proto.DiscardUnknownFields()
    fields = [*proto.extension]
    messages: list[DescriptorProto] = [*proto.message_type]
    while messages:
        message = messages.pop()
        messages += message.nested_type
        fields += [*message.field, *message.extension]
    for field in fields:
        field.ClearField("json_name")
    return proto
