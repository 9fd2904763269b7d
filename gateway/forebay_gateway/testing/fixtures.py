"""pytest's fixtures. `pytest_plugins = ["forebay_gateway.testing"]` brings them.

PYTEST_DONT_REWRITE: there is nothing to assert here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from forebay_gateway.testing import Service, serving

if TYPE_CHECKING:
    import grpc
    from google.protobuf.descriptor import ServiceDescriptor

    from forebay_workers.application import Handlers

    Services = Mapping[ServiceDescriptor, Handlers]


class _Running:
    """The services that were wanted last, running until others are: a session may want one set."""

    def __init__(self) -> None:
        self._services: Services = {}
        self._service: Service | None = None
        self._stack = ExitStack()

    def service(self, services: Services) -> Service:
        """The services, started where they do not run yet."""
        if self._service is None or self._services != services:
            self.end()
            self._service = self._stack.enter_context(serving(services))
            self._services = dict(services)
        return self._service

    def end(self) -> None:
        """Ends what runs."""
        self._service = None
        self._stack.close()


@pytest.fixture(scope="session")
def _forebay_running() -> Iterator[_Running]:
    running = _Running()
    yield running
    running.end()


@pytest.fixture(scope="module")
def forebay_services() -> Services:
    """The services to test: a fixture to define anew, in a module or for a session."""
    pytest.fail(
        "define a fixture `forebay_services`, of scope module or wider, that returns what "
        "application() takes: {my_pb2.DESCRIPTOR.services_by_name['My']: MyServicer()}",
        pytrace=False,
    )


@pytest.fixture(scope="module")
def forebay_service(forebay_services: Services, _forebay_running: _Running) -> Service:
    """The running services; those of the module before go on where they are the same."""
    return _forebay_running.service(forebay_services)


@pytest.fixture(scope="module")
def forebay_channel(forebay_service: Service) -> grpc.Channel:
    """A channel to the running services, for stubs."""
    return forebay_service.channel
