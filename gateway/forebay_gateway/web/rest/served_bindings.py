"""The bindings of a gateway's methods. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.descriptor import MethodDescriptor

from forebay.routes import Method
from forebay_gateway.web.rest.bindings import Binding, Bindings, conflicts, read_bindings

OPENAPI_PATH = "/openapi.json"


def routed_bindings(methods: Iterable[Method]) -> list[Binding]:
    """The bindings of routed methods, which were checked at startup."""
    return [binding for method in methods for binding in _read(method).bindings]


def own_bindings(rpcs: Iterable[MethodDescriptor]) -> list[Binding]:
    """The bindings of the gateway's own services: what they bind to GET has no side effects."""
    return [binding for rpc in rpcs for binding in read_bindings(rpc, may_get=True).bindings]


def binding_problems(methods: Sequence[Method]) -> Iterator[str]:
    """A line for each binding of a routed method that can't be served."""
    for method in methods:
        for problem in _read(method).problems:
            yield f"{method.file.name}: {method.name}: {problem}"
    taken = [OPENAPI_PATH, *(method.path for method in methods)]
    yield from conflicts(routed_bindings(methods), taken)


def _read(method: Method) -> Bindings:
    return read_bindings(method.descriptor, may_get=method.no_side_effects)
