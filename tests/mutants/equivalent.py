"""Mutants that no test can notice, because the change makes no difference."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import Mutant

LISTED = Path(__file__).with_name("equivalent.toml")


@dataclass(frozen=True)
class Equivalent:
    """A mutant in words; `reason` is why it makes no difference."""

    path: str
    line: str
    becomes: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.path, self.line, self.becomes


def read_equivalents(text: str) -> list[Equivalent]:
    """Raises TypeError for an entry that lacks a key or has another."""
    return [Equivalent(**entry) for entry in tomllib.loads(text).get("equivalent", [])]


def stale(listed: Iterable[Equivalent], found: Iterable[Mutant]) -> list[Equivalent]:
    """The entries that no mutant of the present sources matches."""
    keys = {mutant.key for mutant in found}
    return [one for one in listed if one.key not in keys]
