"""Page sizes, page tokens and the merge of partitions for a listing. Pure.

All calls have one order: newest first, and by name within a millisecond. A page token is a
position in that order, so calls that are accepted or dropped meanwhile do not shift the pages.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

from forebay.errors import FieldViolation, InvalidRequest
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.inspection import Cursor, Listed, Stretch
from forebay_gateway.admin.call_names import COLLECTION

DEFAULT_SIZE = 100
MAX_SIZE = 500

_VERSION = "1"
_MAX_MS = 1 << 53  # Redis scores are doubles, which hold integers up to this exactly


def page_size(requested: int) -> int:
    """The largest number of calls on a page; raises InvalidRequest for a negative size."""
    if requested < 0:
        raise _invalid("page_size", f"is {requested}; expected 0 or more")
    return min(requested or DEFAULT_SIZE, MAX_SIZE)


def merged(stretches: Sequence[Stretch]) -> tuple[list[Listed], Cursor | None]:
    """The partitions' calls in one order, and the cursor up to which all partitions were read.

    Calls beyond that cursor are left out: a partition that was read less far may have newer ones.
    """
    read_to = max((one.read_to for one in stretches if one.read_to is not None), default=None)
    calls = (
        call
        for stretch in stretches
        for call in stretch.calls
        if read_to is None or call.cursor >= read_to
    )
    return sorted(calls, key=lambda call: call.cursor, reverse=True), read_to


def token_of(cursor: Cursor, filter_text: str, parent: str = "") -> str:
    """The token of the page after the cursor, for a listing of this parent with this filter."""
    words = f"{_VERSION} {_digest(filter_text, parent)} {cursor.created_ms} {cursor.call}"
    return urlsafe_b64encode(words.encode()).decode()


def cursor_of(token: str, filter_text: str, parent: str = "") -> Cursor:
    """The cursor in a token; raises InvalidRequest for a token that this server did not issue."""
    try:
        words = urlsafe_b64decode(token.encode()).decode()
        version, digest, created_ms, call = words.split(" ")
        cursor = Cursor(int(created_ms), call)
        CallKey.parse(call)
        if version != _VERSION or not 0 <= cursor.created_ms <= _MAX_MS:
            raise ValueError(words)
    except ValueError as error:
        raise _invalid("page_token", "was not issued by this server") from error
    if digest != _digest(filter_text, parent):
        raise _invalid(
            "page_token", "belongs to a listing with another filter, or of another tenant"
        )
    return cursor


def _digest(filter_text: str, parent: str) -> str:
    text = filter_text if parent in ("", COLLECTION) else f"{parent}\n{filter_text}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _invalid(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(f"{field} {problem}", violations=(FieldViolation(field, problem),))
