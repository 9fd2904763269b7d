"""A project's files from its name."""

from __future__ import annotations

import ast
import json
import re
import tomllib

import pytest

from forebay_gateway.cli.new.origin import pip_arguments
from forebay_gateway.cli.new.project import NameRefused, checked_name, project_files


@pytest.mark.parametrize("name", ["weather", "order_book", "a1", "service", "match"])
def test_a_package_name_is_taken(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "expected a Python package's name"),
        ("Weather", "lower-case"),
        ("1st", "a letter first"),
        ("my-service", "underscores"),
        ("my.service", "expected"),
        ("../weather", "expected"),
        ("_private", "expected"),
        ("a__b", "single underscores"),
        ("wetter_\u00e4", "expected"),
        ("class", "keyword"),
        ("tests", "a folder of every project"),
        ("protos", "a folder of every project"),
    ],
)
def test_another_name_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(NameRefused, match=re.escape(why)) as refused:
        checked_name(name)
    assert repr(name) in str(refused.value)


def test_a_project_has_what_it_needs_under_its_name() -> None:
    assert set(project_files("order_book", "1.2.3", "")) == {
        ".gitignore",
        "Makefile",
        "README.md",
        "forebay.toml",
        "order_book/__init__.py",
        "order_book/handlers.py",
        "order_book/v1/__init__.py",
        "order_book/worker.py",
        "protos/order_book/v1/order_book.proto",
        "pyproject.toml",
        "tests/conftest.py",
        "tests/test_order_book.py",
    }


@pytest.mark.parametrize(
    ("name", "service", "servicer"),
    [
        ("order_book", "OrderBookService", "OrderBookServicer"),
        ("order_service", "OrderService", "OrderServicer"),
        ("service", "Service", "ServiceServicer"),
    ],
)
def test_the_service_is_named_after_the_project(name: str, service: str, servicer: str) -> None:
    files = project_files(name, "1.2.3", "")
    assert f"service {service} {{" in files[f"protos/{name}/v1/{name}.proto"]
    assert f"class {servicer}(" in files[f"{name}/handlers.py"]


def test_no_placeholder_of_the_template_remains() -> None:
    for path, text in project_files("order_book", "1.2.3", "").items():
        assert "%" not in text, path
        assert "NAME" not in path
        if path.endswith(".py"):
            ast.parse(text)


def test_the_project_wants_this_version_of_forebay() -> None:
    project = tomllib.loads(project_files("order_book", "1.2.3", "")["pyproject.toml"])["project"]
    assert project["name"] == "order_book"
    assert project["dependencies"] == ["forebay[all]>=1.2.3"]


WHEEL = "file:///dist/forebay-1.2.3-py3-none-any.whl"
COMMIT = {"vcs": "git", "commit_id": "0123abc"}


@pytest.mark.parametrize(
    ("origin", "arguments"),
    [
        (None, ""),
        ({"url": WHEEL, "archive_info": {}}, f"'forebay[testing] @ {WHEEL}'"),
        ({"url": "file:///src", "dir_info": {}}, "'forebay[testing] @ file:///src'"),
        (
            {"url": "file:///my%20src", "dir_info": {"editable": True}},
            "--editable '/my src[testing]'",
        ),
        (
            {"url": "https://git.example/f", "vcs_info": COMMIT},
            "'forebay[testing] @ git+https://git.example/f@0123abc'",
        ),
        (
            {"url": "file:///src", "dir_info": {}, "subdirectory": "sub"},
            "'forebay[testing] @ file:///src#subdirectory=sub'",
        ),
    ],
)
def test_forebay_is_installed_from_its_own_source(
    origin: dict[str, object] | None, arguments: str
) -> None:
    direct_url = None if origin is None else json.dumps(origin)
    assert pip_arguments(direct_url) == arguments


def test_the_source_is_written_as_make_reads_it() -> None:
    makefile = project_files("order_book", "1.2.3", "'a$b#c'")["Makefile"]
    assert "\nFOREBAY ?= 'a$$b\\#c'\n" in makefile
