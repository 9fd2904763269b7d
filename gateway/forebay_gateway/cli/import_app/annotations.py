"""Annotations of functions and classes, as types; strings and forward references are resolved."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Unresolved:
    """An annotation that can't be evaluated, such as a name imported for type checkers only."""

    text: str


def resolved(raw: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    """The types of the annotations; one that can't be resolved does not hide the others."""
    return {name: _resolved(one, scope) for name, one in raw.items()}


def annotations_of_class(cls: type) -> dict[str, Any]:
    """The types of a class's own and inherited annotations, each in the scope of its class.

    A name is looked up in the module before the class, as in `typing.get_type_hints`: in
    `date: date | None = None`, the second `date` is the type, not the attribute.
    """
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        of_module = vars(sys.modules.get(base.__module__, SimpleNamespace()))
        scope = {**vars(base), **of_module, **type_parameters(base)}
        found |= resolved(raw_annotations(base), scope)
    return found


def type_parameters(owner: Any) -> dict[str, Any]:
    """The type variables that are in scope in a generic function or class (Python 3.12)."""
    return {one.__name__: one for one in getattr(owner, "__type_params__", ())}


def raw_annotations(owner: Any) -> Mapping[str, Any]:
    """The owner's own annotations, as they are written."""
    if sys.version_info >= (3, 14):  # evaluates on demand, and raises if a name is missing
        import annotationlib

        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(owner)


def signature_of(function: Any) -> inspect.Signature:
    """The signature with its annotations as they are written; raises ValueError or TypeError."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


def _resolved(annotation: Any, scope: Mapping[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return annotation
    holder: Any = SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, dict(scope), include_extras=True)["it"]
    except Exception:  # evaluation runs code of the application
        text = getattr(annotation, "__forward_arg__", annotation)
        return Unresolved(text if isinstance(text, str) else str(text))
