"""An OpenAPI document. Pure.

https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from forebay_gateway.web.openapi.comments import Comments
from forebay_gateway.web.openapi.errors import ERROR_SCHEMAS
from forebay_gateway.web.openapi.operations import Operations
from forebay_gateway.web.openapi.paths import openapi_path
from forebay_gateway.web.openapi.schemas import Schemas
from forebay_gateway.web.rest.bindings import Binding, rpc_path

Document = dict[str, Any]

_HTTP_METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"})
"""The HTTP methods that OpenAPI supports and that bindings may use."""


@dataclass(frozen=True)
class ServedMethod:
    """A method as the web front serves it."""

    rpc: MethodDescriptor
    bindings: Sequence[Binding] = ()
    may_get: bool = False
    is_resumable: bool = False


@dataclass(frozen=True)
class About:
    """What a document says of its server."""

    title: str
    version: str
    has_authentication: bool = False
    comments: Comments = field(default_factory=dict)


def document(methods: Sequence[ServedMethod], about: About) -> Document:
    """The document of the methods, in their order."""
    schemas = Schemas(about.comments)
    paths = _Paths(Operations(schemas, about.comments), methods)
    for method in methods:
        paths.add(method)
    services = {method.rpc.containing_service.full_name: method.rpc for method in methods}
    components: dict[str, Any] = {"schemas": {**schemas.by_name, **ERROR_SCHEMAS}}
    if about.has_authentication:
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": about.title, "version": about.version},
        "servers": [{"url": "."}],  # relative: the document may be below a path
        **({"security": [{"bearer": []}]} if about.has_authentication else {}),
        "tags": [_tag(name, about.comments) for name in services],
        "paths": paths.by_path,
        "components": components,
    }


class _Paths:
    """A document's paths; if two operations have the same path and method, the first is kept."""

    def __init__(self, operations: Operations, methods: Sequence[ServedMethod]) -> None:
        self._operations = operations
        self.by_path: dict[str, dict[str, Any]] = {}
        short = Counter(_short_name(method.rpc) for method in methods)
        self._ids = {
            method.rpc.full_name: (
                name
                if short[name := _short_name(method.rpc)] == 1
                else method.rpc.full_name.replace(".", "_")
            )
            for method in methods
        }

    def add(self, method: ServedMethod) -> None:
        rpc, path = method.rpc, rpc_path(method.rpc)
        operation_id = self._ids[rpc.full_name]
        for number, binding in enumerate(method.bindings, start=1):
            if binding.http_method in _HTTP_METHODS:
                place, parameters = openapi_path(binding.template)
                operation = self._operations.of_binding(binding, parameters)
                suffix = f"_{number}" if number > 1 else ""
                self._put(place, binding.http_method, f"{operation_id}{suffix}", operation)
        if not method.bindings and (rpc.server_streaming or not rpc.client_streaming):
            self._put(path, "POST", operation_id, self._operations.of_rpc(rpc))
        if rpc.server_streaming and (method.may_get or method.is_resumable):
            events = self._operations.of_events(
                rpc, may_get=method.may_get, is_resumable=method.is_resumable
            )
            self._put(path, "GET", f"{operation_id}_events", events)

    def _put(self, path: str, http_method: str, operation_id: str, operation: Any) -> None:
        at_path = self.by_path.setdefault(path, {})
        at_path.setdefault(http_method.lower(), {"operationId": operation_id, **operation})


def _short_name(rpc: MethodDescriptor) -> str:
    return f"{rpc.containing_service.name}_{rpc.name}"


def _tag(service: str, comments: Comments) -> dict[str, str]:
    described = {"description": comments[service]} if service in comments else {}
    return {"name": service, **described}
