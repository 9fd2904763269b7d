"""The table of extras in `docs/install.md` has what `pyproject.toml` declares."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INTERNAL = {"ledger"}
"""Extras that only others are made of."""
COMMANDS = PROJECT["entry-points"]["forebay.commands"]


def table() -> dict[str, str]:
    """What each extra brings, by its name; that of no extra is empty."""
    rows = re.findall(
        r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|$", (ROOT / "docs/install.md").read_text(), re.MULTILINE
    )
    found = {}
    for install, brings in rows:
        for extra in re.findall(r"`forebay(?:\[([\w,]+)\])?`", install):
            found[extra] = brings
    return found


def named_commands(text: str) -> set[str]:
    """Commands are named in backquotes, the first of them with the program."""
    words = re.findall(r"`(?:forebay )?(\w+)`", text)
    return {word for word in words if word in COMMANDS}


def commands_of(package: str) -> set[str]:
    return {name for name, where in COMMANDS.items() if where.startswith(f"{package}.")}


def test_the_table_has_every_extra() -> None:
    extras = {extra for row in table() for extra in row.split(",") if extra}
    assert extras == PROJECT["optional-dependencies"].keys() - INTERNAL


def test_the_extras_bring_the_commands_that_the_table_names() -> None:
    assert named_commands(table()["cli"]) == commands_of("forebay")
    assert named_commands(table()["gateway"]) == commands_of("forebay_gateway") - {"new"}
    assert named_commands(table()["testing"]) >= {"new"}


@pytest.mark.parametrize("extra", ["", "matrix"])
def test_the_base_and_the_matrix_bring_only_the_named_packages(extra: str) -> None:
    declared = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    brings = table()[extra].lower()
    assert all(Requirement(one).name in brings for one in declared)
    if not extra:
        listed = brings.partition("only ")[2].replace(" and ", ", ").split(", ")
        assert set(listed) == {Requirement(one).name for one in declared}


@pytest.mark.parametrize("extra", ["all", "gateway", "workers"])
def test_extras_that_are_made_of_others_have_them(extra: str) -> None:
    """`all` brings the extras that its row names, and `gateway` the commands of `cli`."""
    parts = {
        part
        for one in map(Requirement, PROJECT["optional-dependencies"][extra])
        if one.name == "forebay"
        for part in one.extras
    }
    named = set(re.findall(r"`(\w+)`", table()[extra])) & PROJECT["optional-dependencies"].keys()
    expected = {"all": named, "gateway": {"cli", "ledger"}, "workers": {"ledger", "matrix"}}
    assert parts == expected[extra]
    assert (extra == "gateway") == table()[extra].startswith("the same, and ")
