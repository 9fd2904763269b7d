"""Reading routes: which methods of which services a gateway serves, and how.

Pure: descriptors in, values out. All that is wrong with the routes of a set of
services is reported at once, in one `RouteError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf import descriptor_pb2, message_factory, unknown_fields
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from forebay.routes.fingerprints import fingerprint
from forebay.routes.plain import PlainTask, plain_problems, plain_task
from forebay.v1 import route_pb2

HIGHEST_PRIORITY = 9
_NEVER_KEPT = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


class RouteError(ValueError):
    """Routes that can't be served; `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Limits:
    """A route's bounds on one call; None where the gateway's default holds."""

    queue_wait_s: float | None = None
    run_time_s: float | None = None
    attempts: int | None = None
    linger_s: float | None = None
    request_bytes: int | None = None
    item_bytes: int | None = None
    idle_s: float | None = None


@dataclass(frozen=True)
class Route:
    """Which Celery task and queue run a method, and under which policy.

    The fields are those of `forebay.v1.Route`, with defaults filled in.
    """

    task: str
    queue: str
    ephemeral: bool
    max_batch: int
    detach: bool
    live: bool
    transient: str
    deterministic: bool
    limits: Limits
    priority: int
    max_priority: int
    metadata: tuple[str, ...]
    caller_chooses_on_disconnect: bool
    plain: PlainTask | None = None


@dataclass(frozen=True)
class Method:
    """One method that carries a route.

    `name` is protobuf's full name, `path` the one of HTTP/2. `may_run_again`
    is what `idempotency_level` says; `fingerprint` tells versions of its messages apart.
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
        """Whether the route names a plain Celery task: its calls have no record in the ledger."""
        return self.route.plain is not None

    @property
    def pool(self) -> DescriptorPool:
        """Where its types are found."""
        return cast(DescriptorPool, self.request_class.DESCRIPTOR.file.pool)

    @property
    def file(self) -> FileDescriptor:
        """The file that declares its service."""
        return self.pool.FindServiceByName(self.service).file

    def is_transient(self, response: Message) -> bool:
        """Whether the item is live only: neither stored nor counted."""
        return bool(self.route.transient) and response.HasField(self.route.transient)


def read_methods(services: Iterable[ServiceDescriptor]) -> tuple[Method, ...]:
    """The methods with a route, in the order of their declaration.

    Raises `RouteError` where any of them can't be served.
    """
    methods: list[Method] = []
    problems: list[str] = []
    owner_of_task: dict[str, str] = {}
    for service in services:
        for descriptor in service.methods:
            if not descriptor.GetOptions().HasExtension(route_pb2.route):
                continue
            method = _read(descriptor)
            methods.append(method)
            problems += [
                f"{service.file.name}: {descriptor.full_name}: {problem}"
                for problem in _problems(descriptor, method, owner_of_task)
            ]
            owner_of_task.setdefault(method.route.task, method.name)
    if problems:
        raise RouteError(problems)
    return tuple(methods)


def services_of(files: Iterable[FileDescriptor]) -> Iterator[ServiceDescriptor]:
    """The services that compiled files declare."""
    for file in files:
        yield from file.services_by_name.values()


def method_of(path: str, pool: DescriptorPool | None = None) -> Method | None:
    """The routed method that HTTP/2 calls by the path; None where no compiled file has it.

    The pool is protobuf's default one, which generated code registers itself in.
    """
    service, _, name = path.strip("/").rpartition("/")
    try:
        found = (pool or Default()).FindServiceByName(service)
    except KeyError:
        return None
    descriptor = found.methods_by_name.get(name)
    if descriptor is None or not descriptor.GetOptions().HasExtension(route_pb2.route):
        return None
    return _read(descriptor)


def _read(descriptor: MethodDescriptor) -> Method:
    options = descriptor.GetOptions()
    service = descriptor.containing_service.full_name
    return Method(
        service=service,
        name=descriptor.full_name,
        path=f"/{service}/{descriptor.name}",
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
        may_run_again=options.idempotency_level
        in (descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS, descriptor_pb2.MethodOptions.IDEMPOTENT),
        request_class=message_factory.GetMessageClass(descriptor.input_type),
        response_class=message_factory.GetMessageClass(descriptor.output_type),
        fingerprint=fingerprint(descriptor),
        route=_route(options.Extensions[route_pb2.route]),
    )


def _route(option: route_pb2.Route) -> Route:
    limits = option.limits
    return Route(
        task=option.task,
        queue=option.queue,
        ephemeral=option.ephemeral,
        max_batch=option.max_batch or 1,
        detach=option.on_disconnect == route_pb2.ON_DISCONNECT_DETACH,
        live=option.live,
        transient=option.transient,
        deterministic=option.deterministic,
        limits=Limits(
            queue_wait_s=_seconds(limits.HasField("queue_wait"), limits.queue_wait),
            run_time_s=_seconds(limits.HasField("run_time"), limits.run_time),
            attempts=limits.attempts or None,
            linger_s=_seconds(limits.HasField("linger"), limits.linger),
            request_bytes=limits.request_bytes or None,
            item_bytes=limits.item_bytes or None,
            idle_s=_seconds(limits.HasField("idle"), limits.idle),
        ),
        priority=option.priority,
        max_priority=max(option.max_priority, option.priority),
        metadata=tuple(option.metadata),
        caller_chooses_on_disconnect=option.caller_chooses_on_disconnect,
        plain=plain_task(option),
    )


def _seconds(is_set: bool, value: Duration) -> float | None:
    return value.ToNanoseconds() / 1e9 if is_set else None


def _problems(
    descriptor: MethodDescriptor, method: Method, owner_of_task: dict[str, str]
) -> Iterator[str]:
    route, limits = method.route, method.route.limits
    option = descriptor.GetOptions().Extensions[route_pb2.route]
    yield from _unknown("the route", option)
    yield from _unknown("`limits`", option.limits)
    if not route.task:
        yield "the route has no `task`; give Celery's name of it"
    elif route.task in owner_of_task and route.plain is None:
        yield f"task {route.task!r} is already {owner_of_task[route.task]}'s; give it its own"
    if not route.queue:
        yield "the route has no `queue`; give Celery's name of it"
    streaming = method.client_streaming or method.server_streaming
    if streaming and route.ephemeral:
        yield "`ephemeral` is for unary methods; take it out"
    if route.max_batch > 1 and (streaming or not route.ephemeral):
        yield "`max_batch` is for ephemeral unary methods; take it out"
    if route.live and not method.client_streaming:
        yield "`live` is for streaming requests; take it out"
    if limits.idle_s is not None and not route.live:
        yield "`limits.idle` is for live methods; take it out"
    yield from plain_problems(descriptor, route)
    if route.ephemeral and route.detach:
        yield "`on_disconnect` of DETACH is for calls on record; take it or `ephemeral` out"
    if option.on_disconnect not in route_pb2.OnDisconnect.values():
        yield f"`on_disconnect` is {option.on_disconnect}, which the contract lacks; give a name"
    if route.max_priority > HIGHEST_PRIORITY:
        yield (
            f"a priority of {route.max_priority} is over {HIGHEST_PRIORITY}, the most urgent; "
            f"give 0 to {HIGHEST_PRIORITY}"
        )
    if route.transient and not method.server_streaming:
        yield "`transient` is for streaming responses; take it out"
    elif route.transient:
        names = [one.name for one in descriptor.output_type.fields if one.containing_oneof]
        if route.transient not in names:
            yield (
                f"`transient` names {route.transient!r}, which is no field of a oneof of "
                f"{descriptor.output_type.full_name}; "
                f"{'give one of ' + ', '.join(names) if names else 'take it out'}"
            )
    for key in route.metadata:
        if key.lower() in _NEVER_KEPT or key.startswith(("grpc-", "forebay-")):
            yield f"`metadata` names {key!r}, which is never kept; take it out"
        elif key != key.lower():
            yield f"`metadata` names {key!r}; keys are lower case on the wire: {key.lower()!r}"
    if limits.linger_s is not None and limits.linger_s < 0:
        yield f"`limits.linger` of {limits.linger_s:g} s is less than 0; give 0 s or more"
    for name in ("queue_wait_s", "run_time_s", "idle_s"):
        value = getattr(limits, name)
        if value is not None and value <= 0:
            yield f"`limits.{name[:-2]}` of {value:g} s is not more than 0; give more, or none"


def _unknown(where: str, option: Message) -> Iterator[str]:
    found: Any = unknown_fields.UnknownFieldSet(option)
    for field in found:
        yield (
            f"{where} has a field {field.field_number}, which this version of Forebay does not "
            "know; bring Forebay up to date, or take the field out"
        )
