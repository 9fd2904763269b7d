"""Where services come from: compiled protobuf modules, and descriptor sets, by name.

A name of a module is as one imports it (`mypkg.my_pb2`). A name with a folder in it, with
a suffix of `DESCRIPTOR_SET_SUFFIXES`, or of a file that is there, is a descriptor set: what
`protoc --include_imports --descriptor_set_out=FILE` or `buf build -o FILE` writes, so that no
Python code is needed. Each set has a descriptor pool of its own: it may carry copies of
files that this process has compiled, of other versions, too. Options are always read as
this process knows them, so a route is `forebay.v1.route` whoever compiled it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from forebay.routes import Method, RouteError, read_methods, services_of
from forebay.routes.descriptor_conflicts import clashes
from forebay.v1 import route_pb2

DESCRIPTOR_SET_SUFFIXES = (".binpb", ".desc", ".protoset")
MAX_SET_BYTES = 64 << 20
"""A descriptor set that is larger is none: a thousand files with comments are 20 MB."""

_HOW_TO_WRITE = (
    "write it with `protoc --include_imports --descriptor_set_out=FILE` or `buf build -o FILE`"
)
_HOW_TO_ROUTE = (
    'put `option (forebay.v1.route) = {task: "…", queue: "…"};` on a method of a service there'
)


class SourceError(ValueError):
    """A source that can't be used; the message says why and what to do, without its name."""


@dataclass(frozen=True)
class Source:
    """What a name stands for: the files that it declares, all of one pool."""

    name: str
    files: tuple[FileDescriptor, ...]

    @property
    def pool(self) -> DescriptorPool:
        """Where the types of its messages are found."""
        pool: DescriptorPool = self.files[0].pool
        return pool

    @property
    def services(self) -> tuple[ServiceDescriptor, ...]:
        """The services that it declares and that carry a route.

        Forebay's own count only where there are no others: a descriptor set has them beside
        what imports `forebay/v1/route.proto` where both were compiled from one workspace.
        """
        others = [file for file in self.files if not file.name.startswith(("forebay/", "google/"))]
        return tuple(filter(_is_routed, services_of(others or self.files)))


def read_source(name: str) -> Source:
    """The module, or the descriptor set, of that name; raises SourceError."""
    return _read_set(name) if is_descriptor_set(name) else _import(name)


def is_descriptor_set(name: str) -> bool:
    """Whether the name is a file's, and no module's."""
    return os.sep in name or name.endswith(DESCRIPTOR_SET_SUFFIXES) or Path(name).is_file()


def read_all_methods(names: Sequence[str], setting: str = "services") -> tuple[Method, ...]:
    """The routed methods of all sources.

    Raises RouteError with all that is wrong, at once: sources that can't be used or that have
    no route (as `setting = NAME: …`), sources that clash, and routes that can't be served.
    """
    problems: list[str] = []
    sources: list[Source] = []
    for name in dict.fromkeys(names):
        try:
            source = read_source(name)
            if not source.services:
                raise SourceError(f"no method there carries a route; {_HOW_TO_ROUTE}")
        except SourceError as error:
            problems.append(f"{setting} = {name!r}: {error}")
        else:
            sources.append(source)
    problems += clashes({source.name: source.files for source in sources})
    services = {service.full_name: service for one in sources for service in one.services}
    methods: tuple[Method, ...] = ()
    try:
        methods = read_methods(services.values())
    except RouteError as error:
        problems += error.problems
    if problems:
        raise RouteError(problems)
    return methods


def _is_routed(service: ServiceDescriptor) -> bool:
    return any(method.GetOptions().HasExtension(route_pb2.route) for method in service.methods)


def _import(name: str) -> Source:
    expected = "expected a compiled protobuf module, such as mypkg.my_pb2, or a descriptor set"
    try:
        file = import_module(name).DESCRIPTOR
    except Exception as error:  # whatever importing it runs into
        raise SourceError(f"{expected}; {type(error).__name__}: {error}") from error
    if not isinstance(file, FileDescriptor):
        raise SourceError(f"{expected}; its DESCRIPTOR is no file's")
    return Source(name, (file,))


def _read_set(path: str) -> Source:
    try:
        with open(path, "rb") as opened:
            raw = opened.read(MAX_SET_BYTES + 1)
    except OSError as error:
        raise SourceError(f"the file can't be read: {error.strerror}") from error
    if len(raw) > MAX_SET_BYTES:
        raise SourceError(f"the file is over {MAX_SET_BYTES} bytes, so no descriptor set")
    try:
        protos = {file.name: file for file in FileDescriptorSet.FromString(raw).file}
    except DecodeError as error:
        raise SourceError(f"the file is no descriptor set; {_HOW_TO_WRITE}") from error
    if not protos:
        raise SourceError(f"the file is no descriptor set, or an empty one; {_HOW_TO_WRITE}")
    missing = {need for file in protos.values() for need in file.dependency} - protos.keys()
    if missing:
        lacks = ", ".join(sorted(missing))
        raise SourceError(f"the descriptor set lacks what it imports ({lacks}); {_HOW_TO_WRITE}")
    pool = DescriptorPool()
    try:
        for file in _in_order(protos):
            pool.AddSerializedFile(file)
        files = tuple(pool.FindFileByName(name) for name in protos)
    except (TypeError, KeyError) as error:  # in C, and in Python
        raise SourceError(f"the descriptor set is not sound: {error}; {_HOW_TO_WRITE}") from error
    return Source(path, files)


def _in_order(protos: Mapping[str, FileDescriptorProto]) -> Iterator[bytes]:
    """The files, each after what it imports."""
    seen: set[str] = set()

    def visit(name: str) -> Iterator[bytes]:
        if name in seen:
            return
        seen.add(name)
        for needed in protos[name].dependency:
            yield from visit(needed)
        yield protos[name].SerializeToString()

    for name in protos:
        yield from visit(name)
