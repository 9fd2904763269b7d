"""Reads replies and stored results, up to a size limit. Pure."""

from __future__ import annotations

import zlib
from typing import Any

from forebay.errors import ForebayError, ResultUnfit, TooLarge
from forebay_backends.broker.task_messages import JSON
from forebay_gateway.plain.mapping.celery_json import Unreadable, read_json

SLACK = 4
"""A result's JSON may be at most this many times as large as the largest message."""

_COMPRESSED = b"\x00celery-compressed\x00"  # celery.backends.base
_GZIP = b"application/x-gzip"


def read_meta(body: bytes, max_message_bytes: int, content_type: str = JSON) -> dict[str, Any]:
    """A task's state; raises TooLarge or ResultUnfit."""
    limit = max_message_bytes * SLACK
    if content_type != JSON:
        raise _unfit("it is not JSON: set `result_serializer` to json")
    meta = read_limited(_uncompressed(body, limit), limit)
    if not isinstance(meta, dict):
        raise _unfit("it is not a state of a task")
    return meta


def read_limited(body: bytes, limit: int) -> Any:
    """Reads JSON of at most `limit` bytes; raises TooLarge or ResultUnfit."""
    if len(body) > limit:
        raise too_large(len(body), limit)
    try:
        return read_json(body)
    except Unreadable as error:
        raise _unfit(str(error)) from error


def too_large(size: int, limit: int) -> ForebayError:
    """The error for a result that is over a limit."""
    return TooLarge(f"the task's result of {size} bytes is over this server's limit of {limit}")


def _uncompressed(body: bytes, limit: int) -> bytes:
    """Undoes Celery's `result_compression`; only gzip, since zlib can limit its output."""
    if not body.startswith(_COMPRESSED):
        return body
    kind, _, content = body[len(_COMPRESSED) :].partition(b"\x00")
    if kind != _GZIP:
        raise _unfit("its compression is not supported: set `result_compression` to gzip")
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(content, limit + 1)
    except zlib.error as error:
        raise _unfit("its compression is broken") from error
    if len(plain) > limit:
        raise too_large(len(plain), limit)
    return plain


def _unfit(why: str) -> ForebayError:
    return ResultUnfit(f"the task's result can't be read: {why}")
