"""The `plain` part of a route (`forebay.v1.PlainTask`), for ordinary Celery tasks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.rpc import code_pb2

from forebay.v1 import route_pb2

_REASON_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


@dataclass(frozen=True)
class ExceptionStatus:
    """The gRPC status for an exception of a task; fields as in `forebay.v1.ExceptionStatus`."""

    type: str
    status: str
    reason: str = ""
    tell_message: bool = False

    @property
    def code(self) -> int:
        """The number of the status."""
        return int(code_pb2.Code.Value(self.status))

    def fits(self, name: str, module: str) -> bool:
        """Whether `type` names the exception class of that qualified name in that module.

        For example, the `type` for `Widget.DoesNotExist` of `shop.models` may be that name or
        `DoesNotExist`, each with or without the module.
        """
        names = (name, name.rpartition(".")[2])
        return self.type in (*names, *(f"{module}.{one}" for one in names))

    def problems(self) -> Iterator[str]:
        """A line for each problem: what is wrong, and what was expected."""
        if not self.type:
            yield "an exception has no `type`; set the name of its class"
        if self.status == "OK" or self.status not in code_pb2.Code.keys():  # noqa: SIM118 - no dict
            yield (
                f"the status of {self.type!r} is {self.status!r}; "
                "expected the name of a gRPC status, such as NOT_FOUND"
            )
        if set(self.reason) - _REASON_CHARACTERS:
            yield f"the reason of {self.type!r} is {self.reason!r}; expected A-Z, 0-9 and _"


@dataclass(frozen=True)
class PlainTask:
    """How requests become arguments, and results responses; fields as in the protobuf."""

    positional: tuple[str, ...]
    result: str
    json_text: bool
    exceptions: tuple[ExceptionStatus, ...]
    let_finish: bool
    replaces: bool = False
    args: str = ""
    kwargs: str = ""
    application: str = ""


def read_plain_task(option: route_pb2.Route) -> PlainTask | None:
    """The plain part of a route; None if the task is a handler of Forebay's own workers."""
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
        args=plain.args,
        kwargs=plain.kwargs,
        application=plain.application,
    )
