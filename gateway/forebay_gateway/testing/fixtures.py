"""pytest's fixtures. `pytest_plugins = ["forebay_gateway.testing"]` brings them.

PYTEST_DONT_REWRITE: there is nothing to assert here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from forebay_gateway.testing import Service, kept, serving
from forebay_gateway.testing.reused_service import ReusedService

if TYPE_CHECKING:
    import grpc
    from google.protobuf.descriptor import ServiceDescriptor

    from forebay_workers.application import Handlers

    Services = Mapping[ServiceDescriptor, Handlers]


@pytest.fixture(scope="session")
def _forebay_kept() -> Iterator[ReusedService[Service]]:
    yield kept
    kept.make_way()


@pytest.fixture(scope="module")
def forebay_services() -> Services:
    """The services to test: a fixture to define anew, in a module or for a session."""
    pytest.fail(
        "define a fixture `forebay_services`, of scope module or wider, that returns what "
        "application() takes: {my_pb2.DESCRIPTOR.services_by_name['My']: MyServicer()}",
        pytrace=False,
    )


@pytest.fixture(scope="module")
def forebay_service(
    forebay_services: Services, _forebay_kept: ReusedService[Service]
) -> Iterator[Service]:
    """The running services; those of the module before go on where they are the same."""
    with _forebay_kept.using(forebay_services, lambda: serving(forebay_services)) as service:
        yield service


@pytest.fixture(scope="module")
def forebay_channel(forebay_service: Service) -> grpc.Channel:
    """A channel to the running services, for stubs."""
    return forebay_service.channel
