"""The ledger's Lua scripts, as texts."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from forebay_backends.ledger.scripts import script

LUA = Path(str(files("forebay_backends.ledger"))) / "lua"
SCRIPTS = sorted(
    str(path.relative_to(LUA).with_suffix(""))
    for path in LUA.rglob("*.lua")
    if path.parent.name != "lib"
)
LIBRARY = "".join(path.read_text() for path in (LUA / "lib").glob("*.lua"))


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


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_the_shared_functions_that_it_uses_and_no_others(name: str) -> None:
    text = script(name)
    for shared in re.findall(r"^local function (\w+)", LIBRARY, re.MULTILINE):
        is_defined = re.search(rf"^local function {shared}\(", text, re.MULTILINE) is not None
        calls = re.findall(rf"(?<!function )\b{shared}\(", text)
        mentions = re.findall(rf"(?<!function )\b{shared}\b", text)
        assert is_defined or not calls, shared
        assert not is_defined or mentions, shared
