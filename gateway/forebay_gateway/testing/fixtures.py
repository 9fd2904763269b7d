"""Pytest fixtures; `pytest_plugins = ["forebay_gateway.testing"]` adds them.

PYTEST_DONT_REWRITE: this module asserts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from forebay_gateway.testing import Service, reused_service, serving
from forebay_gateway.testing.reused_service import ReusedService

if TYPE_CHECKING:
    import grpc
    from google.protobuf.descriptor import ServiceDescriptor

    from forebay_workers.application import Handlers

    Services = Mapping[ServiceDescriptor, Handlers]


@pytest.fixture(scope="session")
def _forebay_reused_service() -> Iterator[ReusedService[Service]]:
    yield reused_service
    reused_service.stop_if_unused()


@pytest.fixture(scope="module")
def forebay_services() -> Services:
    """The services to test. Override this fixture, in a module or a `conftest.py`."""
    pytest.fail(
        "define a fixture `forebay_services`, of scope module or wider, that returns what "
        "application() takes: {my_pb2.DESCRIPTOR.services_by_name['My']: MyServicer()}",
        pytrace=False,
    )


@pytest.fixture(scope="module")
def forebay_service(
    forebay_services: Services, _forebay_reused_service: ReusedService[Service]
) -> Iterator[Service]:
    """The running services; reused from the previous module if it had the same services."""
    with _forebay_reused_service.using(
        forebay_services, lambda: serving(forebay_services)
    ) as service:
        yield service


@pytest.fixture(scope="module")
def forebay_channel(forebay_service: Service) -> grpc.Channel:
    """A channel to the running services, for stubs."""
    return forebay_service.channel
