"""The ledger's Lua scripts, as texts."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

LUA = Path(str(files("forebay_backends.ledger"))) / "lua"
SCRIPTS = sorted(
    str(path.relative_to(LUA).with_suffix(""))
    for path in LUA.rglob("*.lua")
    if path.parent.name != "lib"
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_documents_its_arguments_and_replies_and_uses_arguments_by_name(name: str) -> None:
    text = (LUA / f"{name}.lua").read_text()
    comments, bindings, body = re.fullmatch(
        r"((?:--[^\n]*\n)+)((?:local [^\n]+\n)*)(.*)", text, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    assert re.search(r"^-- ARGV: ", comments, re.MULTILINE)
    assert re.search(r"^-- Replies(, for each \w+)?(, a list)?: ", comments, re.MULTILINE)
    assert ("ARGV" in bindings) == ("-- ARGV: none" not in comments)
    assert not re.search(r"ARGV|arguments_from", body)


def test_every_script_is_run_by_an_operation() -> None:
    operations = Path(str(files("forebay_backends.ledger"))) / "operations"
    texts = "".join(path.read_text() for path in operations.glob("*.py"))
    assert sorted(set(re.findall(r'"(\w+/\w+)"', texts))) == SCRIPTS
