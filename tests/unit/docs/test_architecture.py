"""The files, folders and functions that docs/architecture.md and its picture name exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.syntax import syntax_tree

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/architecture.md").read_text()
NAMES = re.findall(r"`(forebay\w*/[\w/]+\.py):([\w.]+)`", PAGE)
PATHS = re.findall(r"`(forebay\w*/[\w./]*)[`:]", PAGE)
PICTURE = (ROOT / "docs/architecture-call.svg").read_text()
FOLDERS = re.findall(r"class=\"name\"[^>]*>([\w/]*/[\w/]*)<", PICTURE)
SOURCES = ("clients/python", "backends", "gateway", "workers")


def test_the_page_names_files_and_functions() -> None:
    assert len(NAMES) > 20


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMES)))
def test_each_name_on_the_page_exists(path: str, name: str) -> None:
    file = next(ROOT / source / path for source in SOURCES if (ROOT / source / path).exists())
    body: list[ast.stmt] = syntax_tree(file.read_text()).body
    for part in name.split("."):
        found = next(node for node in body if getattr(node, "name", None) == part)
        body = getattr(found, "body", [])


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_each_file_and_folder_on_the_page_exists(path: str) -> None:
    assert any((ROOT / source / path).exists() for source in SOURCES)


def test_each_folder_and_module_in_the_picture_exists() -> None:
    packages = (ROOT / "gateway/forebay_gateway", ROOT / "workers/forebay_workers")
    missing = [
        name
        for name in FOLDERS
        if not any((one / name).is_dir() or (one / f"{name}.py").is_file() for one in packages)
    ]
    assert len(FOLDERS) > 9
    assert not missing
