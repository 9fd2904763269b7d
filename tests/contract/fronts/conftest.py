"""Every front, with the same handlers behind it; a test takes `site` and runs once for each."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.contract.fronts.site import KINDS, Site, serving


@pytest.fixture(scope="session", params=KINDS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with serving(request.param) as site:
        yield site


@pytest.fixture(scope="session")
def native() -> Iterator[Site]:
    with serving("native") as site:
        yield site


@pytest.fixture(autouse=True)
def no_events(request: pytest.FixtureRequest) -> None:
    """Forgets what handlers reported in a test that failed before it read that."""
    for name in {"site", "native"} & set(request.fixturenames):
        request.getfixturevalue(name).forget_events()


@pytest.fixture
def channel(site: Site) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(site.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield channel
