"""Pages of a listing: how they are cut, and where the next one starts. Pure.

All calls have one order, newest first, told apart by name within a millisecond; a
token is a place in it, so what is accepted or dropped meanwhile moves nothing.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from forebay.errors import FieldViolation, InvalidRequest
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.inspection import Cursor, Listed, Stretch

DEFAULT_SIZE = 100
LARGEST_SIZE = 500

_VERSION = "1"
_LATEST_MS = 1 << 53  # what a sorted set's score tells apart


def page_size(asked: int) -> int:
    """How many calls a page has at most; raises InvalidRequest for less than 0."""
    if asked < 0:
        raise _invalid("page_size", f"is {asked}; expected 0 or more")
    return min(asked or DEFAULT_SIZE, LARGEST_SIZE)


def merged(stretches: Sequence[Stretch]) -> tuple[list[Listed], Cursor | None]:
    """The partitions' calls in one order, as far as all of them were read, and how far that is.

    What lies beyond is left out: a partition that was not read as far may have newer calls.
    """
    read_to = max((one.read_to for one in stretches if one.read_to is not None), default=None)
    calls = (
        call
        for stretch in stretches
        for call in stretch.calls
        if read_to is None or call.cursor >= read_to
    )
    return sorted(calls, key=lambda call: call.cursor, reverse=True), read_to


def token_of(cursor: Cursor, filter_text: str) -> str:
    """The token of the page after this place, of a listing with this filter."""
    words = f"{_VERSION} {_digest(filter_text)} {cursor.created_ms} {cursor.call}"
    return urlsafe_b64encode(words.encode()).decode()


def cursor_of(token: str, filter_text: str) -> Cursor:
    """The place that a token stands for; raises InvalidRequest for one that is none of ours."""
    try:
        words = urlsafe_b64decode(token.encode()).decode()
        version, digest, created_ms, call = words.split(" ")
        cursor = Cursor(int(created_ms), call)
        CallKey.parse(call)
        if version != _VERSION or not 0 <= cursor.created_ms <= _LATEST_MS:
            raise ValueError(words)
    except ValueError as error:
        raise _invalid("page_token", "is none that this server gave") from error
    if digest != _digest(filter_text):
        raise _invalid("page_token", "is of a listing with another filter")
    return cursor


def _digest(filter_text: str) -> str:
    return hashlib.sha256(filter_text.encode()).hexdigest()[:16]


def _invalid(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {problem}", violations=(FieldViolation(field, problem),))
