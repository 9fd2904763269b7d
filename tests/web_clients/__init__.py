"""Connect's clients from npm, and a browser to run them in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.commands import run
from tests.harness import environment

_HERE = Path(__file__).parent
_INSTALL = ("npm", "ci", "--silent", "--prefer-offline", "--ignore-scripts")


@pytest.fixture(scope="session")
def web_clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this folder with its packages, so that the tree stays as it is."""
    require("node", "npm")
    folder = tmp_path_factory.mktemp("web") / "clients"
    shutil.copytree(_HERE, folder, ignore=shutil.ignore_patterns("node_modules", "*.py", "__py*"))
    run(*_INSTALL, env=environment(), cwd=folder).succeeded()
    return folder


def require(*programs: str) -> None:
    """Skips the test where one is missing; in CI, it fails."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        absent = f"{' and '.join(missing)} not found: no client of npm is tested"
        pytest.fail(absent) if os.environ.get("CI") else pytest.skip(absent)
