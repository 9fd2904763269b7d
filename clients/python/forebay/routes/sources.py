"""Sources of services: compiled protobuf modules and descriptor sets.

A module is given by its import name, such as `mypkg.my_pb2`. A descriptor set is given by its
path: a name is a path if it contains a path separator, ends with one of
`DESCRIPTOR_SET_SUFFIXES`, or names an existing file. `protoc --include_imports
--descriptor_set_out=FILE` and `buf build -o FILE` write descriptor sets; they need no Python
code. Each set has a descriptor pool of its own, so its files may differ in version from
those that this process has imported. Options are always read with this process's
`forebay.v1.route`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from forebay.routes.descriptor_conflicts import conflicts
from forebay.routes.fields import suggestion
from forebay.routes.file import NO_ROUTES, RouteFile, read_route_file
from forebay.routes.methods import (
    FindProblems,
    Method,
    is_routed,
    read_methods,
    services_of,
)
from forebay.routes.problems import RouteError

DESCRIPTOR_SET_SUFFIXES = (".binpb", ".desc", ".protoset")
MAX_SET_BYTES = 64 << 20
"""The largest descriptor set that is read. A thousand files with comments take 20 MB."""

_HOW_TO_WRITE = (
    "write it with `protoc --include_imports --descriptor_set_out=FILE` or `buf build -o FILE`"
)
_HOW_TO_ROUTE = (
    'put `option (forebay.v1.route) = {task: "…", queue: "…"};` on a method, or add a table of the '
    "method's full name to the routes file (the setting `routes`)"
)


class SourceError(ValueError):
    """A source can't be used. The message has the reason and the fix, but not the source's name."""


@dataclass(frozen=True)
class Source:
    """The files of one module or descriptor set, all in one pool."""

    name: str
    files: tuple[FileDescriptor, ...]

    @property
    def pool(self) -> DescriptorPool:
        """The descriptor pool of its messages."""
        pool: DescriptorPool = self.files[0].pool
        return pool

    @property
    def services(self) -> tuple[ServiceDescriptor, ...]:
        """The services in which a method has the route option."""
        return self.services_with(NO_ROUTES)

    def services_with(self, routes: RouteFile) -> tuple[ServiceDescriptor, ...]:
        """The services in which a method has a route: by option, or in the routes file.

        Forebay's own services are left out if there are others, unless the routes file has a route
        for them: a workspace that imports `forebay/v1/route.proto` may compile them into the same
        descriptor set.
        """
        names = [file.name for file in self.files]
        others = [name for name in names if not name.startswith(("forebay/", "google/"))]
        return tuple(
            service
            for service in services_of(self.files)
            if service.full_name in routes.services
            or (service.file.name in (others or names) and any(map(is_routed, service.methods)))
        )


def read_source(name: str) -> Source:
    """Reads the module or descriptor set of that name; raises SourceError if it can't be used."""
    return _read_set(name) if is_descriptor_set(name) else _import(name)


def is_descriptor_set(name: str) -> bool:
    """Whether the name is the path of a descriptor set, not the name of a module."""
    return os.sep in name or name.endswith(DESCRIPTOR_SET_SUFFIXES) or Path(name).is_file()


def read_all_methods(
    names: Sequence[str],
    setting: str = "services",
    routes: str | Path | None = None,
    applications: Collection[str] | None = None,
    *,
    every_route: bool = False,
    further_problems: FindProblems | None = None,
    caches: Mapping[str, Mapping[str, Any]] | None = None,
    retention_s: float | None = None,
) -> tuple[Method, ...]:
    """The methods of all sources that have a route, by option or in the file `routes`.

    `applications`, `caches` and `retention_s` are as in `read_methods`. With `every_route`, a route
    in the file for a service that no source has is a problem too; gateways set it, since they
    serve no other services.

    Raises RouteError with all problems: sources that can't be used or have no route (as
    `setting = NAME: …`), sources that conflict, routes that can't be served, and
    `further_problems`.
    """
    file = read_route_file(routes)
    sources, problems = _read_sources(names, setting, file)
    services = {
        service.full_name: service for one in sources for service in one.services_with(file)
    }
    if every_route:
        problems += _unknown_services(sources, file, all_read=len(sources) == len(set(names)))
    methods: tuple[Method, ...] = ()
    try:
        methods = read_methods(
            services.values(),
            file,
            applications,
            further_problems,
            caches=caches,
            retention_s=retention_s,
        )
    except RouteError as error:
        problems += error.problems
    if problems:
        raise RouteError(problems)
    return methods


def _read_sources(
    names: Sequence[str], setting: str, routes: RouteFile
) -> tuple[list[Source], list[str]]:
    """The sources that can be used, and the problems of all sources."""
    sources: list[Source] = []
    problems: list[str] = []
    for name in dict.fromkeys(names):
        try:
            sources.append(read_source(name))
        except SourceError as error:
            problems.append(f"{setting} = {name!r}: {error}")
            continue
        if not (routes.problems or sources[-1].services_with(routes)):
            problems.append(f"{setting} = {name!r}: no method of it has a route; {_HOW_TO_ROUTE}")
    problems += conflicts({source.name: source.files for source in sources})
    return sources, problems


def _unknown_services(
    sources: Sequence[Source], routes: RouteFile, *, all_read: bool
) -> Iterator[str]:
    """Describes each route in the file whose service is in no source, and the route's problems.

    Unless `all_read`, a missing service is not reported: an unusable source may have it.
    """
    services = [service for source in sources for service in services_of(source.files)]
    known = {service.full_name for service in services}
    methods = [method.full_name for service in services for method in service.methods]
    for name, route in routes.routes.items():
        if name.rpartition(".")[0] in known:
            continue
        if all_read:
            hint = suggestion(name, methods) or "; add its module or descriptor set to `services`"
            yield f"{routes.name}: {name}: no service has this method{hint}"
        yield from (f"{routes.name}: {name}: {problem}" for problem in route.problems)


def _import(name: str) -> Source:
    expected = "expected a compiled protobuf module, such as mypkg.my_pb2, or a descriptor set"
    try:
        file = import_module(name).DESCRIPTOR
    except Exception as error:  # importing a module may raise anything
        raise SourceError(f"{expected}; {type(error).__name__}: {error}") from error
    if not isinstance(file, FileDescriptor):
        raise SourceError(f"{expected}; its DESCRIPTOR is not a FileDescriptor")
    return Source(name, (file,))


def _read_set(path: str) -> Source:
    try:
        with open(path, "rb") as opened:
            raw = opened.read(MAX_SET_BYTES + 1)
    except OSError as error:
        raise SourceError(f"the file can't be read: {error.strerror}") from error
    if len(raw) > MAX_SET_BYTES:
        raise SourceError(f"the file is over {MAX_SET_BYTES} bytes, too large for a descriptor set")
    try:
        protos = {file.name: file for file in FileDescriptorSet.FromString(raw).file}
    except DecodeError as error:
        raise SourceError(f"the file is not a descriptor set; {_HOW_TO_WRITE}") from error
    if not protos:
        raise SourceError(f"the file is empty, or not a descriptor set; {_HOW_TO_WRITE}")
    try:
        return source_of_files(path, protos)
    except SourceError as error:
        raise SourceError(f"the descriptor set {error}; {_HOW_TO_WRITE}") from error


def source_of_files(name: str, protos: Mapping[str, FileDescriptorProto]) -> Source:
    """The source with these files, by their names, in a pool of its own.

    Raises SourceError if an import is missing or a file is invalid.
    """
    missing = {need for file in protos.values() for need in file.dependency} - protos.keys()
    if missing:
        raise SourceError(f"lacks imported files ({', '.join(sorted(missing))})")
    pool = DescriptorPool()
    try:
        for file in _in_order(protos):
            pool.AddSerializedFile(file)
        files = tuple(pool.FindFileByName(name) for name in protos)
    except (TypeError, KeyError) as error:  # protobuf in C raises TypeError, in Python KeyError
        raise SourceError(f"is invalid: {error}") from error
    return Source(name, files)


def _in_order(protos: Mapping[str, FileDescriptorProto]) -> Iterator[bytes]:
    """The files, each after its imports."""
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
