"""Conflicts between sources of services. Pure.

Reflection serves one file per name, and `google.protobuf.Any` finds one type per name. So two
sources must not have different files or types of the same name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

# Every source has its own copies of these files; their versions are compatible.
_WELL_KNOWN = (
    *("google/api/", "google/longrunning/", "google/protobuf/", "google/rpc/", "google/type/"),
    "forebay/v1/",
)
_FIX = "compile both from the same files"


def conflicts(sources: Mapping[str, Iterable[FileDescriptor]]) -> list[str]:
    """A line for each conflict; `sources` has the files of each source by its name."""
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
                    f"{file.name}: {source} and {known_by} have different versions of it; {_FIX}"
                )
            for symbol in _symbols(file):
                owner, owners_file = owner_of.setdefault(symbol, (source, file.name))
                if owners_file != file.name:
                    problems.append(
                        f"{file.name}: {symbol} is also in {owners_file} of {owner}; "
                        f"{_FIX}, from the same folder"
                    )
    return problems


def with_dependencies(
    files: Iterable[FileDescriptor], seen: set[str] | None = None
) -> Iterator[FileDescriptor]:
    """Yields the files and their imports, each file after its imports, and each name once.

    Files whose names are in `seen` are skipped; the names of yielded files are added to it.
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
    """The file without the parts that differ between compilers."""
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
