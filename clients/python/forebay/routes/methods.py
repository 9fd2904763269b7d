"""The methods that carry a route, read from descriptors. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message import Message

from forebay.routes.cache import with_cache
from forebay.routes.fields import suggestion
from forebay.routes.file import NO_ROUTES, FileRoute, RouteFile
from forebay.routes.fingerprints import fingerprint
from forebay.routes.operations import OperationTypes, read_operation
from forebay.routes.problems import RouteError, route_problems
from forebay.routes.route import Route, read_route
from forebay.v1 import route_pb2

_NO_SIDE_EFFECTS = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
_REPEATABLE = frozenset({_NO_SIDE_EFFECTS, descriptor_pb2.MethodOptions.IDEMPOTENT})


@dataclass(frozen=True)
class Method:
    """A method that has a route.

    `name` is protobuf's full name, `path` the HTTP/2 path. `may_run_again` and `no_side_effects`
    follow from `idempotency_level`. `fingerprint` changes when the method's messages change.
    `operation` is set if the method returns an operation; `response_class` is then `Operation`.
    """

    service: str
    name: str
    path: str
    client_streaming: bool
    server_streaming: bool
    may_run_again: bool
    request_class: type[Message]
    response_class: type[Message]
    fingerprint: str
    route: Route
    operation: OperationTypes | None = None
    no_side_effects: bool = False

    @cached_property
    def result_class(self) -> type[Message]:
        """The class of the handler's responses."""
        return self.response_class if self.operation is None else self.operation.response_class

    @cached_property
    def is_plain(self) -> bool:
        """Whether the route names a plain Celery task; its calls have no record in the ledger."""
        return self.route.plain is not None

    @cached_property
    def application(self) -> str:
        """The name, in the settings, of its plain task's application; empty for the main one."""
        return "" if self.route.plain is None else self.route.plain.application

    @property
    def pool(self) -> DescriptorPool:
        """The descriptor pool of its messages."""
        return cast(DescriptorPool, self.request_class.DESCRIPTOR.file.pool)

    @property
    def file(self) -> FileDescriptor:
        """The file that declares its service."""
        return self.pool.FindServiceByName(self.service).file

    @property
    def descriptor(self) -> MethodDescriptor:
        """The method in its service."""
        return self.pool.FindMethodByName(self.name)

    def is_transient(self, response: Message) -> bool:
        """Whether the response is a transient item: neither stored nor counted."""
        return bool(self.route.transient) and response.HasField(self.route.transient)


FindProblems = Callable[[Sequence[Method]], Iterable[str]]
"""Finds further problems of methods, other than those of their routes; a line for each."""


def read_methods(
    services: Iterable[ServiceDescriptor],
    routes: RouteFile = NO_ROUTES,
    applications: Collection[str] | None = None,
    further_problems: FindProblems | None = None,
    *,
    caches: Mapping[str, Mapping[str, Any]] | None = None,
    retention_s: float | None = None,
) -> tuple[Method, ...]:
    """The methods with a route, by option or in the file, in the order of their declaration.

    `applications` are the names that `plain.application` may have; None: any. `caches` has tables
    that replace a route's `cache`, by the method's full name; `retention_s` bounds what a cache may
    keep, None: it is not known. Raises `RouteError` with all problems if a route can't be served,
    or if there are `further_problems`. Routes for methods of other services are not a problem here.
    """
    caches = caches or {}
    methods: list[Method] = []
    problems = [f"{routes.name}: {problem}" for problem in routes.problems]
    method_of_task: dict[str, str] = {}
    for service in services:
        problems += _unknown_methods(service, routes)
        for descriptor in service.methods:
            if not is_routed(descriptor, routes):
                continue
            given = routes.routes.get(descriptor.full_name)
            option, unfit = with_cache(_option(descriptor, given), caches.get(descriptor.full_name))
            problems += [f"caches: {descriptor.full_name}: {problem}" for problem in unfit]
            method = _method(descriptor, option, _level(descriptor, given))
            methods.append(method)
            where = service.file.name if given is None else routes.name
            found = [
                *_file_problems(descriptor, given),
                *route_problems(
                    *(descriptor, option, method.route, method_of_task, applications),
                    *(_level(descriptor, given), retention_s),
                ),
            ]
            problems += [f"{where}: {descriptor.full_name}: {problem}" for problem in found]
            if not method.application:
                method_of_task.setdefault(method.route.task, method.name)
    problems += _told_methods(methods, method_of_task)
    problems += _caches_of_no_method(caches, [method.name for method in methods])
    if further_problems is not None:
        problems += further_problems(methods)
    if problems:
        raise RouteError(problems)
    return tuple(methods)


def all_methods(
    services: Iterable[ServiceDescriptor], routes: RouteFile = NO_ROUTES
) -> tuple[Method, ...]:
    """All methods, in the order of their declaration; an empty route if there is none.

    The routes are not checked: they may be those of a gateway of another version.
    """
    return tuple(
        _read(descriptor, routes.routes.get(descriptor.full_name))
        for service in services
        for descriptor in service.methods
    )


def is_routed(descriptor: MethodDescriptor, routes: RouteFile = NO_ROUTES) -> bool:
    """Whether the method has a route, by option or in the file."""
    return descriptor.full_name in routes.routes or _has_option(descriptor)


def services_of(files: Iterable[FileDescriptor]) -> Iterator[ServiceDescriptor]:
    """The services that the files declare."""
    for file in files:
        yield from file.services_by_name.values()


def method_of(
    path: str, pool: DescriptorPool | None = None, routes: RouteFile = NO_ROUTES
) -> Method | None:
    """The routed method at an HTTP/2 path; None if the pool has none.

    Without a pool, protobuf's default pool is searched; generated code registers itself there.
    """
    found = _service_of(path, pool)
    name = path.rpartition("/")[2]
    descriptor = None if found is None else found.methods_by_name.get(name)
    if descriptor is None or not is_routed(descriptor, routes):
        return None
    return _read(descriptor, routes.routes.get(descriptor.full_name))


def has_service(path: str, pool: DescriptorPool | None = None) -> bool:
    """Whether the pool, or protobuf's default pool, has the service of an HTTP/2 path."""
    return _service_of(path, pool) is not None


def _service_of(path: str, pool: DescriptorPool | None) -> ServiceDescriptor | None:
    try:
        return (pool or Default()).FindServiceByName(path.strip("/").rpartition("/")[0])
    except KeyError:
        return None


def _has_option(descriptor: MethodDescriptor) -> bool:
    return bool(descriptor.GetOptions().HasExtension(route_pb2.route))


def _option(descriptor: MethodDescriptor, given: FileRoute | None) -> route_pb2.Route:
    if given is not None:
        return given.option
    option: route_pb2.Route = descriptor.GetOptions().Extensions[route_pb2.route]
    return option


def _level(descriptor: MethodDescriptor, given: FileRoute | None) -> int:
    in_file = 0 if given is None else given.idempotency_level
    return int(descriptor.GetOptions().idempotency_level) or in_file


def _read(descriptor: MethodDescriptor, given: FileRoute | None) -> Method:
    return _method(descriptor, _option(descriptor, given), _level(descriptor, given))


def _method(descriptor: MethodDescriptor, option: route_pb2.Route, level: int) -> Method:
    service = descriptor.containing_service.full_name
    route, operation = read_route(option), read_operation(descriptor)
    if operation is not None:
        route = replace(route, detach=True)  # the caller leaves when it has the operation
    return Method(
        service=service,
        name=descriptor.full_name,
        path=f"/{service}/{descriptor.name}",
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
        may_run_again=level in _REPEATABLE,
        request_class=message_factory.GetMessageClass(descriptor.input_type),
        response_class=message_factory.GetMessageClass(descriptor.output_type),
        fingerprint=fingerprint(descriptor, None if operation is None else operation.messages),
        route=route,
        operation=operation,
        no_side_effects=level == _NO_SIDE_EFFECTS,
    )


def _file_problems(descriptor: MethodDescriptor, given: FileRoute | None) -> Iterator[str]:
    """Problems of the table in the file, and conflicts with the options in the `.proto`."""
    if given is None:
        return
    file = descriptor.containing_service.file.name
    if _has_option(descriptor):
        yield f"it has a route in {file}, too; remove one of them"
    if given.idempotency_level and descriptor.GetOptions().HasField("idempotency_level"):
        yield f"`idempotency_level` is set in {file}; remove it here"
    yield from given.problems


def _told_methods(methods: Iterable[Method], method_of_task: Mapping[str, str]) -> Iterator[str]:
    """A line for each `on_end` that names the task of a method: its argument is not a call."""
    for method in methods:
        on_end = method.route.on_end
        if on_end is not None and on_end.task in method_of_task:
            yield (
                f"{method.name}: `on_end` names task {on_end.task!r}, which belongs to "
                f"{method_of_task[on_end.task]}; set another task"
            )


def _caches_of_no_method(caches: Collection[str], names: Collection[str]) -> Iterator[str]:
    """A line for each cache of a method that has no route here."""
    for name in caches:
        if name not in names:
            hint = suggestion(name, names) or f"; set one of {', '.join(names)}"
            yield f"caches: {name}: no method of this name is served{hint}"


def _unknown_methods(service: ServiceDescriptor, routes: RouteFile) -> Iterator[str]:
    """A line for each route in the file for a method that the service does not have."""
    names = list(service.methods_by_name)
    for full_name in routes.routes:
        declarer, _, name = full_name.rpartition(".")
        if declarer == service.full_name and name not in names:
            hint = suggestion(name, names) or f"; it has {', '.join(names)}"
            yield f"{routes.name}: {full_name}: {declarer} has no such method{hint}"
