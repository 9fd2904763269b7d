"""The methods that carry a route, read from descriptors. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message import Message

from forebay.routes.fingerprints import fingerprint
from forebay.routes.problems import route_problems
from forebay.routes.route import Route, read_route
from forebay.v1 import route_pb2

_REPEATABLE = frozenset(
    {descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS, descriptor_pb2.MethodOptions.IDEMPOTENT}
)


class RouteError(ValueError):
    """Some routes can't be served; `problems` has one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Method:
    """A method that carries a route.

    `name` is protobuf's full name, `path` the HTTP/2 path. `may_run_again` follows from
    `idempotency_level`. `fingerprint` changes when the method's messages change.
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

    @property
    def is_plain(self) -> bool:
        """Whether the route names a plain Celery task; its calls have no record in the ledger."""
        return self.route.plain is not None

    @property
    def pool(self) -> DescriptorPool:
        """The descriptor pool of its messages."""
        return cast(DescriptorPool, self.request_class.DESCRIPTOR.file.pool)

    @property
    def file(self) -> FileDescriptor:
        """The file that declares its service."""
        return self.pool.FindServiceByName(self.service).file

    def is_transient(self, response: Message) -> bool:
        """Whether the response is a transient item: neither stored nor counted."""
        return bool(self.route.transient) and response.HasField(self.route.transient)


def read_methods(services: Iterable[ServiceDescriptor]) -> tuple[Method, ...]:
    """The methods with a route, in the order of their declaration.

    Raises `RouteError` with all problems if a route can't be served.
    """
    methods: list[Method] = []
    problems: list[str] = []
    method_of_task: dict[str, str] = {}
    for service in services:
        for descriptor in service.methods:
            if not is_routed(descriptor):
                continue
            method = _read(descriptor)
            methods.append(method)
            problems += [
                f"{service.file.name}: {descriptor.full_name}: {problem}"
                for problem in route_problems(descriptor, method.route, method_of_task)
            ]
            method_of_task.setdefault(method.route.task, method.name)
    if problems:
        raise RouteError(problems)
    return tuple(methods)


def is_routed(descriptor: MethodDescriptor) -> bool:
    """Whether the method carries a route."""
    return bool(descriptor.GetOptions().HasExtension(route_pb2.route))


def services_of(files: Iterable[FileDescriptor]) -> Iterator[ServiceDescriptor]:
    """The services that the files declare."""
    for file in files:
        yield from file.services_by_name.values()


def method_of(path: str, pool: DescriptorPool | None = None) -> Method | None:
    """The routed method at an HTTP/2 path; None if the pool has none.

    Without a pool, protobuf's default pool is searched; generated code registers itself there.
    """
    found = _service_of(path, pool)
    name = path.rpartition("/")[2]
    descriptor = None if found is None else found.methods_by_name.get(name)
    return None if descriptor is None or not is_routed(descriptor) else _read(descriptor)


def has_service(path: str, pool: DescriptorPool | None = None) -> bool:
    """Whether the pool, or protobuf's default pool, has the service of an HTTP/2 path."""
    return _service_of(path, pool) is not None


def _service_of(path: str, pool: DescriptorPool | None) -> ServiceDescriptor | None:
    try:
        return (pool or Default()).FindServiceByName(path.strip("/").rpartition("/")[0])
    except KeyError:
        return None


def _read(descriptor: MethodDescriptor) -> Method:
    options = descriptor.GetOptions()
    service = descriptor.containing_service.full_name
    return Method(
        service=service,
        name=descriptor.full_name,
        path=f"/{service}/{descriptor.name}",
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
        may_run_again=options.idempotency_level in _REPEATABLE,
        request_class=message_factory.GetMessageClass(descriptor.input_type),
        response_class=message_factory.GetMessageClass(descriptor.output_type),
        fingerprint=fingerprint(descriptor),
        route=read_route(options.Extensions[route_pb2.route]),
    )
