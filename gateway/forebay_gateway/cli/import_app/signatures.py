"""The parameters, the result and the documentation of a task. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from forebay_gateway.cli.import_app.annotations import resolved, signature_of, type_parameters

_RETURN = "return"  # no parameter can have this name


@dataclass(frozen=True)
class Parameter:
    """A parameter of a task; `annotation` and `default` may be `inspect.Parameter.empty`."""

    name: str
    kind: inspect._ParameterKind
    annotation: Any
    default: Any = inspect.Parameter.empty

    @property
    def is_required(self) -> bool:
        """Whether a call must pass it."""
        return self.default is inspect.Parameter.empty


@dataclass(frozen=True)
class Task:
    """A task of an application; `returns` is the annotation of its result.

    `queue_is_known` is false if the application's router does not tell the queue.
    """

    name: str
    queue: str
    parameters: tuple[Parameter, ...]
    returns: Any
    doc: str = ""
    queue_is_known: bool = True


_ANYTHING = (
    Parameter("args", inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.empty),
    Parameter("kwargs", inspect.Parameter.VAR_KEYWORD, inspect.Parameter.empty),
)


def read_task(name: str, queue: str, run: Callable[..., Any], doc: str | None = None) -> Task:
    """Reads a task; `run` is its function, or its bound method. Follows `functools.wraps`."""
    text = inspect.cleandoc(doc or "")
    try:
        signature = signature_of(run)
    except (TypeError, ValueError):  # some built-in functions have none
        return Task(name, queue, _ANYTHING, inspect.Parameter.empty, text)
    raw = {one.name: one.annotation for one in signature.parameters.values()}
    types = resolved({**raw, _RETURN: signature.return_annotation}, _scope(run))
    parameters = tuple(
        Parameter(one.name, one.kind, types[one.name], one.default)
        for one in signature.parameters.values()
    )
    return Task(name, queue, parameters, types[_RETURN], text)


def _scope(run: Callable[..., Any]) -> Mapping[str, Any]:
    """The names that the annotations of the innermost function can use."""
    function: Any = inspect.unwrap(run, stop=lambda one: hasattr(one, "__signature__"))
    while hasattr(function, "func"):  # functools.partial
        function = inspect.unwrap(function.func)
    if not hasattr(function, "__globals__"):
        function = getattr(type(function), "__call__", function)  # noqa: B004 - it is read only
    function = getattr(function, "__func__", function)
    try:
        of_closure = inspect.getclosurevars(function).nonlocals
    except (TypeError, ValueError):
        of_closure = {}
    return {**getattr(function, "__globals__", {}), **of_closure, **type_parameters(function)}
