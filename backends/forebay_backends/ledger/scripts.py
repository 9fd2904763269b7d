"""Builds the ledger's Lua scripts: an operation, after the parts of `lua/lib` that it uses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files

from forebay_backends.ledger.keys import control_channel
from forebay_backends.ledger.lifecycle import lua_table
from forebay_backends.ledger.record import fields_of_a_claim, fields_of_active_calls

LEASE_S = 15.0
"""How long a claim or a watch holds unless it is renewed."""
RENEWAL_INTERVAL_S = LEASE_S / 3
"""How often holders of leases renew them."""

RECORD_BYTES = 2048
"""The assumed size of an ended call's record without its items, close to the real size."""

_LIB = (
    "keys",
    "clock",
    "waiting",
    "watchers",
    "cache",
    "settle",
    "lapse",
    "schedule",
    "abandon",
    "streams",
    "guards",
    "accept",
    "join",
)
"""The library's files. The order matters: a file uses only functions of the files before it."""

_EXPECTED = "local expected_ms = tonumber(table.remove(ARGV))\n"
"""Each script's last argument: the ledger's time as its sender expects it; '' if not known."""

_COMMENT = re.compile(r"^ *--.*\n|  --.*$", re.MULTILINE)
_STATEMENT = re.compile(r"^(?=local |setmetatable)", re.MULTILINE)
_NAME = re.compile(r"local (?:function )?(\w+)")
_WORD = re.compile(r"\w+")
_CALLED = re.compile(r"redis\.p?call\('(\w+)'")


@cache
def digest(name: str, in_cluster: bool = False) -> str:
    """The script's SHA-1, for EVALSHA."""
    text = script(name, in_cluster)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@cache
def script(name: str, in_cluster: bool = False) -> str:
    """The whole text of a script, as a server runs it; `name` is its path in `lua`."""
    lua = files("forebay_backends.ledger") / "lua"
    operation = _COMMENT.sub("", (lua / f"{name}.lua").read_text())
    return "".join((_EXPECTED, *_needed(_library(in_cluster), operation), operation))


@cache
def _library(in_cluster: bool) -> tuple[str, ...]:
    """The statements that all scripts share, each a constant, a function or a variable."""
    lua = files("forebay_backends.ledger") / "lua"
    constants = (
        f"local NEXT = {lua_table()}",
        f"local LEASE_MS = {LEASE_S * 1000:.0f}",
        # In a cluster a node counts only its own subscribers.
        f"local COUNTS_SUBSCRIBERS = {str(not in_cluster).lower()}",
        f"local CONTROL = '{control_channel('')}'",
        f"local RECORD_BYTES = {RECORD_BYTES}",
        f"local FIELDS_OF_ACTIVE_CALLS = {_lua_list(fields_of_active_calls())}",
        f"local FIELDS_OF_A_CLAIM = {_lua_list(fields_of_a_claim())}\n",
    )
    files_of_lib = ((lua / "lib" / f"{part}.lua").read_text() for part in _LIB)
    text = _COMMENT.sub("", "\n".join((*constants, *files_of_lib)))
    return tuple(filter(str.strip, _STATEMENT.split(text)))


def _needed(library: Sequence[str], operation: str) -> list[str]:
    """The statements that the operation uses, directly or indirectly, in the library's order.

    The server runs the whole script each time, so even unused functions would cost time.
    """
    words, needed = set(_WORD.findall(operation)), list[str]()
    for statement in reversed(library):
        name = _NAME.match(statement)
        if name is None or name[1] in words:
            needed.append(statement)
            words.update(_WORD.findall(statement))
    return needed[::-1]


def _lua_list(words: Iterable[str]) -> str:
    return "{" + ", ".join(f"'{word}'" for word in words) + "}"


@cache
def commands_of_scripts() -> frozenset[str]:
    """The commands that scripts call, in lower case."""
    lua = files("forebay_backends.ledger") / "lua"
    texts = (
        file.read_text()
        for folder in lua.iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
        if file.name.endswith(".lua")
    )
    return frozenset(name.lower() for text in texts for name in _CALLED.findall(text))


def load_all(in_cluster: bool) -> None:
    """Reads all scripts, so that no call needs a file descriptor for one later."""
    lua = files("forebay_backends.ledger") / "lua"
    for folder in (lua, *(entry for entry in lua.iterdir() if entry.is_dir())):
        prefix = "" if folder is lua else f"{folder.name}/"
        for file in folder.iterdir():
            if file.name.endswith(".lua") and prefix != "lib/":
                digest(prefix + file.name.removesuffix(".lua"), in_cluster)
