"""Loading the ledger's Lua scripts: each is the prelude and one operation."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from forebay_backends.ledger.keys import control_channel
from forebay_backends.ledger.lifecycle import lua_table

LEASE_S = 15.0
"""How long a claim or a watch holds unless it is renewed."""

RECORD_BYTES = 2048
"""What a finished call's record counts as, besides its items (about what it takes)."""


@cache
def digest(name: str) -> str:
    """The SHA-1 by which a server knows the script."""
    return hashlib.sha1(script(name).encode(), usedforsecurity=False).hexdigest()


@cache
def script(name: str) -> str:
    """The whole text of the script, as a server runs it."""
    folder = files("forebay_backends.ledger") / "lua"
    return "\n".join(
        (
            f"local NEXT = {lua_table()}",
            f"local LEASE_MS = {LEASE_S * 1000:.0f}",
            f"local CONTROL = '{control_channel('')}'",
            f"local RECORD_BYTES = {RECORD_BYTES}",
            (folder / "prelude.lua").read_text(),
            (folder / f"{name}.lua").read_text(),
        )
    )
