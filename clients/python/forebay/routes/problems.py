"""Finds problems in a method's route; each is one line with the problem and its fix. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from google.protobuf import unknown_fields
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from forebay.routes.cache import cache_problems
from forebay.routes.fields import suggestion
from forebay.routes.operations import operation_problems
from forebay.routes.plain import PlainTask
from forebay.routes.plain_problems import plain_form_problems
from forebay.routes.route import HIGHEST_PRIORITY, Limits, OnEnd, Route
from forebay.v1 import route_pb2

_NEVER_KEPT = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})
_PERMISSION = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.ASCII)
_ANY = "google.protobuf.Any"


class RouteError(ValueError):
    """Some routes can't be served; `problems` has one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def route_problems(
    method: MethodDescriptor,
    option: route_pb2.Route,
    route: Route,
    method_of_task: Mapping[str, str],
    applications: Collection[str] | None,
    level: int,
    retention_s: float | None,
) -> Iterator[str]:
    """Everything that is wrong with the route that was read from the option.

    `method_of_task` has the tasks already taken, `applications` the names of the applications of
    plain tasks; None if they are not known here. `level` is the method's `idempotency_level`,
    `retention_s` that of the gateway, None if it is not known here.
    """
    yield from _unknown_fields("the route", option)
    yield from _unknown_fields("`limits`", option.limits)
    yield from _unknown_fields("`on_end`", option.on_end)
    yield from _unknown_fields("`cache`", option.cache)
    yield from _task_problems(route, method_of_task)
    yield from _kind_problems(method, route)
    yield from operation_problems(method, option, route)
    if route.plain is not None:
        yield from _plain_problems(method, route, route.plain)
        yield from _application_problems(route.plain.application, applications)
    yield from _disconnect_problems(route, option.on_disconnect)
    if route.max_priority > HIGHEST_PRIORITY:
        yield (
            f"a priority of {route.max_priority} is over {HIGHEST_PRIORITY}, the most urgent; "
            f"set 0 to {HIGHEST_PRIORITY}"
        )
    yield from _transient_problems(method, route.transient)
    yield from _metadata_problems(route.metadata)
    yield from _limit_problems(route.limits)
    if route.on_end is not None:
        yield from _on_end_problems(route, route.on_end)
    yield from cache_problems(method, option, level, retention_s)
    if route.requires and not _PERMISSION.fullmatch(route.requires):
        yield (
            f"`requires` is {route.requires!r}; set a permission, which is words of letters, "
            "digits, `_` and `-` with dots between them, such as 'reports.render'"
        )


def _unknown_fields(where: str, option: Message) -> Iterator[str]:
    found: Any = unknown_fields.UnknownFieldSet(option)
    for field in found:
        yield (
            f"{where} has a field {field.field_number}, which this version of Forebay does not "
            "know; upgrade Forebay, or remove the field"
        )


def _task_problems(route: Route, method_of_task: Mapping[str, str]) -> Iterator[str]:
    if not route.task:
        yield "the route has no `task`; set the name of a Celery task"
    elif route.task in method_of_task and route.plain is None:
        yield (
            f"task {route.task!r} already belongs to {method_of_task[route.task]}; set another task"
        )
    if not route.queue:
        yield "the route has no `queue`; set the name of a Celery queue"


def _kind_problems(method: MethodDescriptor, route: Route) -> Iterator[str]:
    """Options that don't fit the method's kind of RPC."""
    is_unary = not (method.client_streaming or method.server_streaming)
    if route.ephemeral and not is_unary:
        yield "`ephemeral` is for unary methods; remove it"
    if route.max_batch > 1 and not (is_unary and route.ephemeral):
        yield "`max_batch` is for ephemeral unary methods; remove it"
    if route.live and not method.client_streaming:
        yield "`live` is for streaming requests; remove it"
    if route.limits.idle_s is not None and not route.live:
        yield "`limits.idle` is for live methods; remove it"
    if route.limits.stall_s is not None and not method.server_streaming:
        yield "`limits.stall` is for streaming responses; remove it"


def _disconnect_problems(route: Route, on_disconnect: int) -> Iterator[str]:
    if route.ephemeral and route.detach:
        yield "`on_disconnect` of DETACH is for durable calls; remove it or `ephemeral`"
    if on_disconnect not in route_pb2.OnDisconnect.values():
        expected = ", ".join(route_pb2.OnDisconnect.keys()[1:])
        yield f"`on_disconnect` is {on_disconnect}, which is not an OnDisconnect; set {expected}"


def _transient_problems(method: MethodDescriptor, transient: str) -> Iterator[str]:
    if not transient:
        return
    if not method.server_streaming:
        yield "`transient` is for streaming responses; remove it"
        return
    names = [one.name for one in method.output_type.fields if one.containing_oneof]
    if transient not in names:
        yield (
            f"`transient` names {transient!r}, which is not a field of a oneof of "
            f"{method.output_type.full_name}; "
            f"{'set one of ' + ', '.join(names) if names else 'remove it'}"
        )


def _on_end_problems(route: Route, on_end: OnEnd) -> Iterator[str]:
    if not on_end.task:
        yield "`on_end` has no `task`; set the name of a Celery task"
    if not on_end.queue:
        yield "`on_end` has no `queue`; set the name of a Celery queue"
    if route.ephemeral:
        yield "`on_end` is for calls with a record in the ledger; remove it or `ephemeral`"
    if route.plain is not None:
        yield (
            "`on_end` is for calls with a record in the ledger, which plain tasks have not; remove "
            "it, and let the task itself start the other (Celery's `link`)"
        )


def _metadata_problems(keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        if key.lower() in _NEVER_KEPT or key.startswith(("grpc-", "forebay-")):
            yield f"`metadata` names {key!r}, which Forebay never stores; remove it"
        elif key != key.lower():
            yield f"`metadata` names {key!r}; gRPC sends keys in lower case, set {key.lower()!r}"


def _limit_problems(limits: Limits) -> Iterator[str]:
    if limits.linger_s is not None and limits.linger_s < 0:
        yield f"`limits.linger` is {limits.linger_s:g} s; set 0 s or more"
    for name in ("queue_wait_s", "run_time_s", "idle_s", "stall_s"):
        value = getattr(limits, name)
        if value is not None and value <= 0:
            yield f"`limits.{name[:-2]}` is {value:g} s; set more than 0 s, or remove it"


def _plain_problems(method: MethodDescriptor, route: Route, plain: PlainTask) -> Iterator[str]:
    if method.client_streaming:
        yield "a `plain` task takes one request, but the method streams requests"
    for name in ("ephemeral", "live", "deterministic"):
        if getattr(route, name):
            yield f"`{name}` is not for `plain` tasks; remove it"
    if route.limits.stall_s is not None:
        yield "`limits.stall` is not for `plain` tasks, which never wait for a reader; remove it"
    if route.max_batch > 1:
        yield "`max_batch` is not for `plain` tasks; remove it"
    for name in plain.positional:
        if name not in method.input_type.fields_by_name:
            yield (
                f"`plain.positional` names {name!r}, which is not a field of "
                f"{method.input_type.full_name}"
            )
    if len(set(plain.positional)) < len(plain.positional):
        yield "`plain.positional` names a field twice"
    if plain.result and plain.result not in method.output_type.fields_by_name:
        yield (
            f"`plain.result` names {plain.result!r}, which is not a field of "
            f"{method.output_type.full_name}"
        )
    yield from plain_form_problems(method, plain)
    for message in (method.input_type, method.output_type):
        yield from _any_fields(message, {message.full_name})
    for exception in plain.exceptions:
        yield from (f"`plain.exceptions`: {problem}" for problem in exception.problems())


def _application_problems(name: str, known: Collection[str] | None) -> Iterator[str]:
    if not name or known is None or name in known:
        return
    hint = suggestion(name, known) or f"; add [applications.{name}] with its broker_url there"
    yield f"`plain.application` names {name!r}, which is not an application in the settings{hint}"


def _any_fields(message: Descriptor, seen: set[str]) -> Iterator[str]:
    """Fields of the type Any, at any depth: Celery's JSON does not name the message's type."""
    for field in message.fields:
        inner: Descriptor | None = field.message_type
        if field.type != FieldDescriptor.TYPE_MESSAGE or inner is None:
            continue
        if inner.full_name == _ANY:
            yield f"{field.full_name} is an Any, which `plain` tasks can't have; remove it"
        elif inner.full_name not in seen:
            seen.add(inner.full_name)
            yield from _any_fields(inner, seen)
