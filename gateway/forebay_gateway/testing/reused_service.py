"""Keeps a service running between test modules that use the same services.

The service stops before other services start, because a process serves one set at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class ReusedService(Generic[S]):
    """At most one running service, in use or kept for the next module."""

    def __init__(self) -> None:
        self._services: Mapping[Any, Any] = {}
        self._service: S | None = None
        self._stack = ExitStack()
        self._in_use = False

    @contextmanager
    def using(
        self, services: Mapping[Any, Any], serve: Callable[[], AbstractContextManager[S]]
    ) -> Iterator[S]:
        """The kept service if it has the same `services`, or else the one that `serve` starts."""
        if self._service is None or self._services != services:
            self.stop_if_unused()
            self._service = self._stack.enter_context(serve())
            self._services = dict(services)
        self._in_use = True
        try:
            yield self._service
        finally:
            self._in_use = False

    def stop_if_unused(self) -> None:
        """Stops the kept service, unless it is in use."""
        if not self._in_use:
            self._service = None
            self._stack.close()
