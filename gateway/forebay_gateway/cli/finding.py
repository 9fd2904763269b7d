"""The result of a check of `forebay doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The state of one subject, such as the ledger or a queue; `fix` is set for problems."""

    subject: str
    good: bool
    description: str
    fix: str = ""


def counted(count: int, noun: str) -> str:
    """Examples: `1 call`, `4 calls`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
