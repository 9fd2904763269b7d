"""Mutations of Lua, found by patterns, since the scripts are short and simple."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.mutants.mutant import Edit

_REPLACED = {
    "==": "~=",
    "~=": "==",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "+": "-",
    "-": "+",
    "*": "/",
    "/": "*",
    "and": "or",
    "or": "and",
    "not ": "",
    "true": "false",
    "false": "true",
}
_OPERATOR = re.compile(r"[=~<>]=|[<>+*/-]|\b(?:and|or|not |true|false)\b|\bnot ")
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")
_INDEX = re.compile(r"(?:ARGV|KEYS)\[\d+\]|arguments_from\(\d+\)")
_IGNORED = re.compile(r"--[^\n]*|'[^'\n]*'")
_CALL = re.compile(r"(?:^|\b(?:then|else|do)\b)[ \t]*(?P<call>[a-z_.]+\()", re.MULTILINE)


def lua_edits(source: str) -> Iterator[Edit]:
    """Operators, numbers but those of arguments, and calls whose result is not used."""
    code = _blanked(_IGNORED, source)
    for found in _OPERATOR.finditer(code):
        yield Edit(found.start(), found.end(), _REPLACED[found[0]])
    for found in _NUMBER.finditer(_blanked(_INDEX, code)):
        yield Edit(found.start(), found.end(), str(int(found[0]) + 1))
        yield Edit(found.start(), found.end(), str(int(found[0]) - 1))
    for found in _CALL.finditer(code):
        yield Edit(found.start("call"), _closing(code, found.end()), "")


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: " " * len(found[0]), text)


def _closing(code: str, position: int) -> int:
    """The end of the parenthesis that was opened before this position."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(code[position], 0)
        position += 1
    return position
