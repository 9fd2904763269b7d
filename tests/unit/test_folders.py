"""Each package says what its folders hold, and tests/unit has the folders of the packages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.syntax import syntax_tree

ROOT = Path(__file__).parents[2]
UNIT = Path(__file__).parent
PACKAGES = {
    "client": ROOT / "clients/python/forebay",
    "backends": ROOT / "backends/forebay_backends",
    "gateway": ROOT / "gateway/forebay_gateway",
    "workers": ROOT / "workers/forebay_workers",
}
# What the folders at the top of tests/unit test.
TESTED = PACKAGES | {name: ROOT / name for name in ("bench", "docs", "ops", "tests")}


def subfolders(folder: Path) -> list[Path]:
    """Without those that have nothing but Python's cache, as git leaves them behind."""
    return [
        path
        for path in folder.iterdir()
        if path.is_dir()
        and path.name != "__pycache__"
        and any(inner.name != "__pycache__" for inner in path.iterdir())
    ]


def packages(folder: Path) -> Iterator[Path]:
    """The folder and those below it, as far as they are Python packages."""
    if (folder / "__init__.py").exists():
        yield folder
        for path in subfolders(folder):
            yield from packages(path)


ALL = {
    str(path.relative_to(top.parent)): (path, top)
    for top in PACKAGES.values()
    for path in packages(top)
}


def named_in_docstring(package: Path) -> set[str]:
    """What the package's docstring names as `folder/` or `module.py`."""
    docstring = ast.get_docstring(syntax_tree((package / "__init__.py").read_text())) or ""
    return set(re.findall(r"`([\w/]+(?:/|\.py))`", docstring))


@pytest.mark.parametrize("name", ALL)
def test_a_package_names_its_folders(name: str) -> None:
    package, _ = ALL[name]
    assert {f"{path.name}/" for path in subfolders(package)} - named_in_docstring(package) == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_top_package_names_its_modules(name: str) -> None:
    package = PACKAGES[name]
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    assert modules - named_in_docstring(package) == set()


@pytest.mark.parametrize("name", ALL)
def test_what_a_package_names_exists(name: str) -> None:
    package, top = ALL[name]
    places = (package, top, *(other.parent for other in PACKAGES.values()), ROOT)
    missing = {
        path
        for path in named_in_docstring(package) - {"conftest.py"}  # a user's
        if not any((place / path).exists() for place in places)
    }
    assert missing == set()


UNIT_TESTS = sorted(str(path.relative_to(UNIT)) for path in UNIT.glob("*/**/test_*.py"))


@pytest.mark.parametrize("folder", sorted({str(Path(test).parent) for test in UNIT_TESTS}))
def test_a_folder_of_unit_tests_exists_in_what_it_tests(folder: str) -> None:
    top, *rest = Path(folder).parts
    assert TESTED[top].joinpath(*rest).is_dir()


def imported_folders(test: Path, source: Path) -> set[Path]:
    """The folders of the modules that the test imports from the source folder."""
    found = set()
    for node in ast.walk(syntax_tree(test.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                path = source.joinpath(*node.module.split("."), alias.name)
                found.add(next(parent for parent in (path, *path.parents) if parent.is_dir()))
    return found


@pytest.mark.parametrize("name", UNIT_TESTS)
def test_a_unit_test_is_in_the_folder_of_what_it_tests(name: str) -> None:
    """If all that it imports from its folder is in one folder below that, it belongs there."""
    top, *rest = Path(name).parent.parts
    own = TESTED[top].joinpath(*rest)
    imported = imported_folders(UNIT / name, TESTED[top].parent)
    below = {path.relative_to(own).parts[:1] for path in imported if path.is_relative_to(own)}
    assert len(below) != 1 or below == {()}, f"move it into the folder {below.pop()[0]}"
