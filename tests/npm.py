"""Copies of npm packages of the tree with their dependencies, from the lock file."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.commands import run
from tests.harness import environment
from tests.web_clients import require

_MADE = shutil.ignore_patterns("node_modules", "dist", "gen")
_INSTALL = ("npm", "ci", "--silent", "--no-audit", "--no-fund", "--prefer-offline")


def installed(source: Path, folder: Path) -> Path:
    """A copy of the package in the folder, so that the tree stays as it is."""
    require("node", "npm")
    shutil.copytree(source, folder, ignore=_MADE)
    run(*_INSTALL, "--ignore-scripts", env=environment(), cwd=folder).succeeded()
    return folder
