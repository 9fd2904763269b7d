"""Makes methods with routes from tasks. Pure."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from forebay_gateway.cli.import_app.classes import NOTHING, ClassField
from forebay_gateway.cli.import_app.mapping import TypeMapper
from forebay_gateway.cli.import_app.names import distinct
from forebay_gateway.cli.import_app.proto import Field, MessageType, Rpc
from forebay_gateway.cli.import_app.scalars import STRUCT
from forebay_gateway.cli.import_app.signatures import Parameter, Task

RESULT = "result"
_NEVER = (None, type(None), typing.NoReturn, typing.Never)
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def make_rpcs(tasks: Sequence[Task]) -> list[Rpc]:
    """A method for each task, in the order of the tasks' names."""
    tasks = sorted(tasks, key=lambda task: task.name)
    names = distinct([tuple(task.name.split(".")) for task in tasks], "Task")
    mapper = TypeMapper()
    return [_rpc(name, task, mapper) for name, task in zip(names, tasks, strict=True)]


def _rpc(name: str, task: Task, mapper: TypeMapper) -> Rpc:
    request = MessageType((f"{name}Request",), comment=f"The arguments of {task.name}.")
    response = MessageType((f"{name}Response",), comment=f"The result of {task.name}.")
    kinds = {one.kind: one.name for one in task.parameters}
    args = kinds.get(inspect.Parameter.VAR_POSITIONAL, "")
    by_position = _BY_POSITION if args else _BY_POSITION[:1]
    for one in task.parameters:
        field = _field(one, name, mapper)
        if one.kind in by_position and not one.is_required:
            field = replace(field, unset="OMITTED")
        request.fields.append(field)
    if not any(task.returns is one for one in _NEVER):
        field = mapper.field(ClassField(RESULT, task.returns), name)
        response.fields.append(replace(field, unset=""))
    return Rpc(
        name,
        task.name,
        task.queue,
        request,
        response,
        positional=tuple(one.name for one in task.parameters if one.kind in by_position),
        args=args,
        kwargs=kinds.get(inspect.Parameter.VAR_KEYWORD, ""),
        result=RESULT if response.fields else "",
        comment=task.doc or f"Calls the task {task.name}.",
    )


def _field(one: Parameter, owner: str, mapper: TypeMapper) -> Field:
    if one.kind is inspect.Parameter.VAR_POSITIONAL:
        return _several(one, list[_known(one.annotation)], owner, mapper)  # type: ignore[misc]
    if one.kind is inspect.Parameter.VAR_KEYWORD:
        return _several(one, dict[str, _known(one.annotation)], owner, mapper)  # type: ignore[misc]
    return mapper.field(ClassField(one.name, one.annotation, one.is_required, one.default), owner)


def _several(one: Parameter, annotation: Any, owner: str, mapper: TypeMapper) -> Field:
    """The field of `*args` or `**kwargs`, which may be empty."""
    field = mapper.field(ClassField(one.name, annotation), owner)
    if one.kind is inspect.Parameter.VAR_POSITIONAL:
        return replace(field, comment="More arguments, by position.")
    if field.type == STRUCT or getattr(field.type, "key", "") != "string":
        field = replace(field, type=STRUCT)
    return replace(field, comment="More arguments, by name.")


def _known(annotation: Any) -> Any:
    return Any if annotation is NOTHING else annotation


def untyped_places(rpcs: Sequence[Rpc], messages: Sequence[MessageType]) -> list[str]:
    """Where the file has any JSON instead of a type, and why."""
    places = []
    for rpc in rpcs:
        places += [
            f"{rpc.task}({one.name}): {one.untyped}" for one in rpc.request.fields if one.untyped
        ]
        places += [
            f"{rpc.task} returns: {one.untyped}" for one in rpc.response.fields if one.untyped
        ]
    for message in messages:
        places += [
            f"{message.parts[-1]}.{one.name}: {one.untyped}"
            for one in message.fields
            if one.untyped
        ]
    return places
