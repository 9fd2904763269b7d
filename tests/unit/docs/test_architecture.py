"""The files and functions that docs/architecture.md names exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/architecture.md").read_text()
NAMES = re.findall(r"`(forebay\w*/[\w/]+\.py):([\w.]+)`", PAGE)
SOURCES = ("clients/python", "backends", "gateway", "workers")


def test_the_page_names_files_and_functions() -> None:
    assert len(NAMES) > 20


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMES)))
def test_each_name_on_the_page_exists(path: str, name: str) -> None:
    file = next(ROOT / source / path for source in SOURCES if (ROOT / source / path).exists())
    body: list[ast.stmt] = ast.parse(file.read_text()).body
    for part in name.split("."):
        found = next(node for node in body if getattr(node, "name", None) == part)
        body = getattr(found, "body", [])
