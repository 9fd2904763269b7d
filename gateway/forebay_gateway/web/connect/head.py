"""Reads the version and the timeout from Connect's headers. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.errors import InvalidRequest

VERSION = b"connect-protocol-version"
_MOST_DIGITS = 10


def read_timeout(headers: Mapping[bytes, bytes]) -> float | None:
    """The caller's timeout in seconds; raises InvalidRequest, also for another protocol version."""
    version = headers.get(VERSION, b"1")
    if version != b"1":
        raise InvalidRequest(f"connect-protocol-version is {_shown(version)}; expected 1")
    value = headers.get(b"connect-timeout-ms")
    if value is None:
        return None
    if not value.isdigit() or len(value) > _MOST_DIGITS:
        raise InvalidRequest(
            f"connect-timeout-ms is {_shown(value)}; expected up to {_MOST_DIGITS} digits"
        )
    return int(value) / 1000


def _shown(value: bytes) -> str:
    return repr(value[:40].decode("latin-1"))
