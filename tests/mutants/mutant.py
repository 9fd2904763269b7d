"""A change to a source file, as text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """Replaces the characters from `start` to `end` of a text."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Mutant:
    """An edit of a file. `line` and `becomes` are the lines that it changes, on one line each."""

    path: str
    number: int
    line: str
    becomes: str
    edit: Edit

    def __str__(self) -> str:
        return f"{self.path}:{self.number}\n  - {self.line}\n  + {self.becomes}"

    @property
    def key(self) -> tuple[str, str, str]:
        """Its key in `equivalent.toml`: without a position, which other changes move."""
        return self.path, self.line, self.becomes

    def applied(self, source: str) -> str:
        return source[: self.edit.start] + self.edit.text + source[self.edit.end :]


def mutants(path: str, source: str, edits: Iterable[Edit]) -> list[Mutant]:
    """The mutants of these edits, without duplicates."""
    return list(dict.fromkeys(_mutant(path, source, edit) for edit in edits))


def sample(found: Iterable[Mutant], most: int, seed: int) -> list[Mutant]:
    """At most `most` mutants, in the order of the file.

    A change elsewhere in the file leaves most of the sample as it was: the choice depends on
    the seed and on each mutant's own lines.
    """

    def rank(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed} {mutant.line} {mutant.becomes}".encode()).digest()

    return sorted(sorted(found, key=rank)[:most], key=lambda mutant: mutant.edit.start)


def _mutant(path: str, source: str, edit: Edit) -> Mutant:
    first = source.rfind("\n", 0, edit.start) + 1
    last = source.find("\n", edit.end)
    last = len(source) if last < 0 else last
    becomes = source[first : edit.start] + edit.text + source[edit.end : last]
    number = source.count("\n", 0, edit.start) + 1
    return Mutant(path, number, _one_line(source[first:last]), _one_line(becomes), edit)


def _one_line(text: str) -> str:
    return " ".join(text.split())
