"""Patterns of SPIFFE IDs, such as `spiffe://prod.example/ns/{tenant}/sa/{subject}`. Pure.

https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from forebay_backends.ledger.tenant_names import is_tenant

SCHEME = "spiffe://"
_TENANT, _SUBJECT = "{tenant}", "{subject}"
_EXAMPLE = f"such as {SCHEME}prod.example/ns/{_TENANT}/sa/{_SUBJECT}"
_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_DOTS = (".", "..")


class Identified(NamedTuple):
    """The parts of a SPIFFE ID that say who calls."""

    tenant: str
    subject: str


@dataclass(frozen=True)
class SpiffePattern:
    """A trust domain and the segments of a path; `{tenant}` and `{subject}` stand for one each."""

    domain: str
    segments: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> SpiffePattern:
        """Parses a pattern; raises ValueError if no ID fits it, or a placeholder is missing."""
        if not text.startswith(SCHEME):
            raise ValueError(f"expected {SCHEME}…, {_EXAMPLE}")
        domain, *segments = text.removeprefix(SCHEME).split("/")
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"expected a trust domain of a-z 0-9 . _ and -, {_EXAMPLE}")
        for placeholder in (_TENANT, _SUBJECT):
            if segments.count(placeholder) != 1:
                raise ValueError(f"expected {placeholder} once, as a whole segment, {_EXAMPLE}")
        for segment in segments:
            if segment not in (_TENANT, _SUBJECT) and not _is_segment(segment):
                raise ValueError(
                    f"segment {segment!r}: expected letters, digits, . _ and -, {_EXAMPLE}"
                )
        return cls(domain, tuple(segments))

    def match(self, spiffe_id: str) -> Identified | None:
        """Who has the SPIFFE ID; None if it is not of this pattern."""
        if not spiffe_id.startswith(SCHEME):
            return None
        domain, *segments = spiffe_id.removeprefix(SCHEME).split("/")
        if domain != self.domain or len(segments) != len(self.segments):
            return None
        found: dict[str, str] = {}
        for expected, segment in zip(self.segments, segments, strict=True):
            if not _is_segment(segment):
                return None
            if expected in (_TENANT, _SUBJECT):
                found[expected] = segment
            elif expected != segment:
                return None
        if not is_tenant(found[_TENANT]):
            return None
        return Identified(found[_TENANT], found[_SUBJECT])


def _is_segment(text: str) -> bool:
    return bool(_SEGMENT.fullmatch(text)) and text not in _DOTS
