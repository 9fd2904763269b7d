"""The services that a module of tests wanted last, kept for a next module that wants the same.

They make way for whatever else is to be served, since a process serves one set at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class ReusedService(Generic[S]):
    """At most one running service, in use or waiting for who wants the same services."""

    def __init__(self) -> None:
        self._services: Mapping[Any, Any] = {}
        self._service: S | None = None
        self._stack = ExitStack()
        self._in_use = False

    @contextmanager
    def using(
        self, services: Mapping[Any, Any], serve: Callable[[], AbstractContextManager[S]]
    ) -> Iterator[S]:
        """The service of these services: the one that is kept, or what `serve` starts."""
        if self._service is None or self._services != services:
            self.make_way()
            self._service = self._stack.enter_context(serve())
            self._services = dict(services)
        self._in_use = True
        try:
            yield self._service
        finally:
            self._in_use = False

    def make_way(self) -> None:
        """Ends what is kept, unless it is in use."""
        if not self._in_use:
            self._service = None
            self._stack.close()
