"""Commands in a folder and an environment without the services of the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import Ran, run
from tests.e2e.conftest import Site
from tests.harness import environment


class Elsewhere:
    """A folder from which commands address the gateway; they can't import its services."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.folder = folder
        self.address = site.targets(1)[0]

    def run(self, *command: str, **variables: str) -> Ran:
        env = environment(FOREBAY_ADDRESS=self.address, **variables)
        return run("forebay", *command, env=env, cwd=self.folder)


@pytest.fixture
def elsewhere(site: Site, tmp_path: Path) -> Elsewhere:
    return Elsewhere(site, tmp_path)
