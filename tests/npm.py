"""Copies of npm packages of the tree with their dependencies, from the lock file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.commands import run
from tests.harness import environment

_LEFT_OUT = shutil.ignore_patterns("node_modules", "dist", "gen", "*.py", "__py*")
_INSTALL = ("npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefer-offline")


def installed(source: Path, folder: Path, *programs: str) -> Path:
    """A copy of the package in the folder, so that the tree stays as it is.

    Node, npm and the further programs must be there.
    """
    require("node", "npm", *programs)
    shutil.copytree(source, folder, ignore=_LEFT_OUT, dirs_exist_ok=True)
    run(*_INSTALL, "--ignore-scripts", env=environment(), cwd=folder).succeeded()
    return folder


def require(*programs: str) -> None:
    """Skips the test where one is missing; in CI, it fails."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        absent = f"{' and '.join(missing)} not found: nothing of npm is tested"
        pytest.fail(absent) if os.environ.get("CI") else pytest.skip(absent)
