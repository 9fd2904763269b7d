"""One web front for all tests that do not need one of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.fronts.site import Site
from tests.contract.web.site import web_site


@pytest.fixture(scope="session")
def web() -> Iterator[Site]:
    with web_site() as site:
        yield site


@pytest.fixture(autouse=True)
def no_events(web: Site) -> None:
    """Forgets what handlers reported in a test that failed before it read that."""
    web.forget_events()
