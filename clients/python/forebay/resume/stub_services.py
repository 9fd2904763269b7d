"""Finds the routes of the service that a generated stub calls.

Example: `orders.proto` declares a service, and `messages.proto` its messages. `orders_pb2_grpc.py`
imports `messages_pb2` only, so the service is in no descriptor pool. But protoc writes
`orders_pb2.py` beside the stub's module, and importing it registers the service.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import suppress
from importlib import import_module

from google.protobuf.descriptor_pool import DescriptorPool

from forebay.routes import Method, RouteFile, has_service, method_of

_STUB_MODULE = "_pb2_grpc"


class StubServices:
    """The routed methods in a pool, by path; if `pool` is None, in protobuf's default pool."""

    def __init__(self, pool: DescriptorPool | None, routes: RouteFile) -> None:
        self._pool = pool
        self._routes = routes
        self._methods: dict[str, Method | None] = {}
        self._reported: set[str] = set()

    def prepare(self, path: str) -> None:
        """Registers the path's service if the stub that is being created belongs to it."""
        if self._pool is None and not has_service(path):
            _import_service_of_stub()

    def method(self, path: str) -> Method | None:
        """The routed method; None without a route. Warns once about each service not loaded."""
        if path not in self._methods:
            if not has_service(path, self._pool):
                self._warn(path)
                return None  # not remembered: the service's module may be imported later
            self._methods[path] = method_of(path, self._pool, self._routes)
        return self._methods[path]

    def _warn(self, path: str) -> None:
        service = path.strip("/").rpartition("/")[0]
        if service in self._reported:
            return
        self._reported.add(service)
        what_to_do = (
            f"import the module that protoc made of the file that declares {service} (its `…_pb2`)"
            if self._pool is None
            else f"add the file that declares {service} to the channel's `pool`"
        )
        warnings.warn(
            f"calls of {path} are not resumed, since the descriptor of {service} is not loaded: "
            f"{what_to_do}, or create the channel with `resume=False`",
            RuntimeWarning,
            stacklevel=_depth_of_caller(),
        )


def _import_service_of_stub() -> None:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        name = str(frame.f_globals.get("__name__", ""))
        if name.endswith(_STUB_MODULE):
            # The module may be missing, or conflict with a loaded file. If grpc_tools' importer
            # compiles it, that may fail. In all these cases the first call warns.
            with suppress(Exception):
                import_module(name.removesuffix("_grpc"))
            return


def _depth_of_caller() -> int:
    """The `stacklevel` of the first frame outside gRPC and this package."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        ("forebay.", "grpc.")
    ):
        depth, frame = depth + 1, frame.f_back
    return depth
