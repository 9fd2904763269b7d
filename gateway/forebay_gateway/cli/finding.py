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
