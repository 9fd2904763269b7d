"""The part of a route that makes its task a plain one: `forebay.v1.PlainTask`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.rpc import code_pb2

from forebay.v1 import route_pb2

if TYPE_CHECKING:
    from forebay.routes import Route

_REASON_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_ANY = "google.protobuf.Any"


@dataclass(frozen=True)
class ExceptionStatus:
    """The status that stands for an exception; the fields are those of the contract."""

    type: str
    status: str
    reason: str = ""
    tell_message: bool = False

    @property
    def code(self) -> int:
        """The number of the status."""
        return int(code_pb2.Code.Value(self.status))

    def fits(self, name: str, module: str) -> bool:
        """Whether it is for the class of that name in that module."""
        return self.type in (name, f"{module}.{name}")

    def problems(self) -> Iterator[str]:
        """What is wrong with it."""
        if not self.type:
            yield "an exception has no `type`; give its class's name"
        if self.status == "OK" or self.status not in code_pb2.Code.keys():  # noqa: SIM118 - no dict
            yield (
                f"the status of {self.type!r} is {self.status!r}; expected a gRPC status' name, "
                "such as NOT_FOUND"
            )
        if set(self.reason) - _REASON_CHARACTERS:
            yield f"the reason of {self.type!r} is {self.reason!r}; expected A-Z, 0-9 and _"


@dataclass(frozen=True)
class PlainTask:
    """How requests become arguments and results responses; the fields are the contract's."""

    positional: tuple[str, ...]
    result: str
    json_text: bool
    exceptions: tuple[ExceptionStatus, ...]
    let_finish: bool
    replaces: bool = False


def plain_task(option: route_pb2.Route) -> PlainTask | None:
    """The plain part of a route; None where the task is one of Forebay's own handlers."""
    if not option.HasField("plain"):
        return None
    plain = option.plain
    return PlainTask(
        positional=tuple(plain.positional),
        result=plain.result,
        json_text=plain.json_text,
        exceptions=tuple(
            ExceptionStatus(one.type, one.status, one.reason, one.tell_message)
            for one in plain.exceptions
        ),
        let_finish=plain.let_finish,
        replaces=plain.replaces,
    )


def plain_problems(descriptor: MethodDescriptor, route: Route) -> Iterator[str]:
    """What is wrong with the plain part of a method's route, and what does not go with it."""
    plain = route.plain
    if plain is None:
        return
    if descriptor.client_streaming:
        yield "a `plain` task takes one request; the method streams them"
    for name in ("ephemeral", "live", "deterministic"):
        if getattr(route, name):
            yield f"`{name}` is not for `plain` tasks; take it out"
    if route.max_batch > 1:
        yield "`max_batch` is not for `plain` tasks; take it out"
    for name in plain.positional:
        if name not in descriptor.input_type.fields_by_name:
            yield f"`plain.positional` names {name!r}, which is no field of {_in(descriptor)}"
    if len(set(plain.positional)) < len(plain.positional):
        yield "`plain.positional` names a field twice"
    if plain.result and plain.result not in descriptor.output_type.fields_by_name:
        yield (
            f"`plain.result` names {plain.result!r}, which is no field of "
            f"{descriptor.output_type.full_name}"
        )
    for message in (descriptor.input_type, descriptor.output_type):
        yield from _any_fields(message, {message.full_name})
    for exception in plain.exceptions:
        yield from (f"`plain.exceptions`: {problem}" for problem in exception.problems())


def _in(descriptor: MethodDescriptor) -> str:
    return descriptor.input_type.full_name


def _any_fields(message: Descriptor, seen: set[str]) -> Iterator[str]:
    """Fields of any message: nothing in JSON from Celery says which one it would be."""
    for field in message.fields:
        inner: Descriptor | None = field.message_type
        if field.type != FieldDescriptor.TYPE_MESSAGE or inner is None:
            continue
        if inner.full_name == _ANY:
            yield f"{field.full_name} is an Any, which `plain` tasks can't have; take it out"
        elif inner.full_name not in seen:
            seen.add(inner.full_name)
            yield from _any_fields(inner, seen)
