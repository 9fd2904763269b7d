"""Finds the binding for an HTTP request. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from forebay_gateway.web.rest.bindings import ANY_METHOD, Binding
from forebay_gateway.web.rest.path_index import PathIndex


@dataclass(frozen=True, slots=True)
class Found:
    """A binding, and the segments of the path, percent-encoded and without the verb."""

    binding: Binding
    raw_segments: list[str]


@dataclass(slots=True)
class NotFound:
    """No binding was found; `allowed` are the HTTP methods that the path has bindings for."""

    allowed: set[str] = field(default_factory=set)


class Router:
    """Finds bindings; if two conflict (`conflicts`), it uses the first."""

    def __init__(self, bindings: Iterable[Binding]) -> None:
        self._index: PathIndex[dict[str, Binding]] = PathIndex()
        for binding in bindings:
            at_shape = self._index.setdefault(binding.template, {})
            at_shape.setdefault(binding.http_method, binding)

    def find(self, http_method: str, raw_path: str) -> Found | NotFound:
        """The most specific binding for the request; raises UndecodablePath."""
        missed = NotFound()
        for raw_segments, at_shape in self._index.find(raw_path):
            binding = at_shape.get(http_method) or at_shape.get(ANY_METHOD)
            if binding is not None:
                return Found(binding, raw_segments)
            missed.allowed.update(at_shape)
        return missed
