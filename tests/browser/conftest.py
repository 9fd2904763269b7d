"""The browser, and a gateway with the operators' page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.running import Browser, chromium, installed
from tests.browser.stack import Stack, running_stack


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the driver, with its packages."""
    return installed(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="session")
def browser(driver: Path) -> Iterator[Browser]:
    """One Chromium for all tests."""
    with chromium(driver) as running:
        yield running


@pytest.fixture(scope="session")
def page_stack() -> Iterator[Stack]:
    """A gateway, a worker, and calls of many kinds, once a session."""
    with running_stack() as stack:
        yield stack
