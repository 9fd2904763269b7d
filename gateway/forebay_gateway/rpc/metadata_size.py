"""Fits statuses and metadata into what every gRPC client accepts. Pure.

A gRPC client replaces the status of an RPC by RESOURCE_EXHAUSTED if the metadata of one header
block is over its limit, 8 KiB by default. So the gateway shortens texts and omits entries, so
that the status code always arrives. A client counts each entry's size on the wire, plus 32 bytes
(https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2); `grpc-message` is percent-encoded, and
values under "-bin" are base64 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from forebay.errors.status import STATUS_DETAILS_KEY
from forebay.metadata import OMITTED, Pairs

METADATA_BYTES = 8192 - 512
"""The largest metadata that the gateway sends: gRPC and proxies add entries of their own."""
_FIRST_MESSAGE_BYTES = 1024
"""The part of the message that has priority over the handler's details and metadata."""
_ERROR_INFO_BYTES = 2048
_ERROR_INFO_CHARACTERS = 256
ENTRY_BYTES = 32
"""What each entry adds to the size, besides its key and value."""
_LEAST_ROOM = METADATA_BYTES - ENTRY_BYTES - len(OMITTED) - 20
"""The size that fits however many entries are omitted."""
_OWN_KEYS = ("forebay-", "grpc-")
UNESCAPED = bytes(byte for byte in range(0x20, 0x7F) if byte != ord("%"))
"""The bytes of `grpc-message` that are sent as they are; others are percent-encoded."""


def fit_pairs(pairs: Pairs) -> Pairs:
    """The pairs that fit, in their order. A pair `OMITTED` has the number of omitted pairs."""
    if _size(pairs) <= _LEAST_ROOM:  # as almost all do
        return pairs
    kept, omitted = _kept((), pairs, lambda some: _size(some) <= _room(len(pairs)))
    return kept if not omitted else (*kept, (OMITTED, str(omitted)))


def fit_status(status: status_pb2.Status, trailing: Pairs) -> tuple[str, Pairs]:
    """The message and the trailing metadata, with the status under `STATUS_DETAILS_KEY` in it.

    If they are too large, entries are kept in this order of priority:

    1. Forebay's own metadata, and the ErrorInfo
    2. the first 1 KiB of the message
    3. the other details, in their order
    4. the handler's metadata, in its order
    5. the rest of the message
    """
    text = status.message.encode("utf-8", "replace").decode()
    if _is_within(text, status, trailing, METADATA_BYTES):
        return text, (*trailing, (STATUS_DETAILS_KEY, status.SerializeToString()))
    room = _room(len(trailing) + len(status.details))
    info, other_details = _info_first(status.details)
    fitted = status_pb2.Status(code=status.code, details=map(_small_info, info))
    own = [pair for pair in trailing if pair[0].startswith(_OWN_KEYS)]
    kept, omitted = _kept((), own, lambda some: _is_within("", fitted, some, room))
    start = _cut(text, lambda cut: _message_size(cut) <= _FIRST_MESSAGE_BYTES)
    for detail in other_details:
        fitted.details.append(detail)
        if not _is_within(start, fitted, kept, room):
            del fitted.details[-1]
            omitted += 1
    others = [pair for pair in trailing if not pair[0].startswith(_OWN_KEYS)]
    kept, more_omitted = _kept(kept, others, lambda some: _is_within(start, fitted, some, room))
    omitted += more_omitted
    fitted.message = _cut(text, lambda cut: _is_within(cut, fitted, kept, room))
    if omitted:
        kept = (*kept, (OMITTED, str(omitted)))
    return fitted.message, (*kept, (STATUS_DETAILS_KEY, fitted.SerializeToString()))


def _kept(
    before: Pairs, pairs: Iterable[tuple[str, str | bytes]], fits: Callable[[Pairs], bool]
) -> tuple[Pairs, int]:
    """`before` with the pairs that fit appended, and the number of pairs that do not fit."""
    kept, omitted = tuple(before), 0
    for pair in pairs:
        if fits((*kept, pair)):
            kept = (*kept, pair)
        else:
            omitted += 1
    return kept, omitted


def _room(most_omitted: int) -> int:
    """The size left for other entries, besides the one that counts omitted entries."""
    return METADATA_BYTES - _size(((OMITTED, str(most_omitted)),))


def _cut(text: str, fits: Callable[[str], bool]) -> str:
    """The longest prefix of the text that fits, with a mark if it was shortened."""
    if len(text) <= METADATA_BYTES and fits(text):
        return text
    low, high = 0, min(len(text) - 1, METADATA_BYTES)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(_marked(text, middle)) else (low, middle - 1)
    return _marked(text, low)


def _marked(text: str, kept: int) -> str:
    return f"{text[:kept]}… ({len(text) - kept:,} characters more)"


def _info_first(details: Iterable[any_pb2.Any]) -> tuple[list[any_pb2.Any], list[any_pb2.Any]]:
    """The first ErrorInfo, if there is one, and the other details."""
    others = list(details)
    for index, detail in enumerate(others):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            return [others.pop(index)], others
    return [], others


def _small_info(detail: any_pb2.Any) -> any_pb2.Any:
    """The ErrorInfo; a large one loses its metadata, and has its reason and domain shortened."""
    if detail.ByteSize() <= _ERROR_INFO_BYTES:
        return detail
    info, small = error_details_pb2.ErrorInfo(), any_pb2.Any()
    try:
        detail.Unpack(info)
    except DecodeError:
        info.Clear()
    small.Pack(
        error_details_pb2.ErrorInfo(
            reason=info.reason[:_ERROR_INFO_CHARACTERS], domain=info.domain[:_ERROR_INFO_CHARACTERS]
        )
    )
    return small


def _is_within(message: str, status: status_pb2.Status, pairs: Pairs, limit: int) -> bool:
    """Whether message, pairs and the status with that message take no more than the limit."""
    # A protobuf submessage takes a tag, a length of up to 4 bytes, and its own bytes.
    details_size = sum(detail.ByteSize() + 5 for detail in status.details)
    status_size = details_size + len(message.encode()) + 16
    return (
        _message_size(message)
        + ENTRY_BYTES
        + len(STATUS_DETAILS_KEY)
        + _base64_size(status_size)
        + _size(pairs)
        <= limit
    )


def _message_size(message: str) -> int:
    """The size of the `grpc-message` entry."""
    encoded = message.encode()
    escaped = len(encoded.translate(None, UNESCAPED))
    return len("grpc-message") + len(encoded) + 2 * escaped + ENTRY_BYTES


def _size(pairs: Pairs) -> int:
    size = ENTRY_BYTES * len(pairs)
    for key, value in pairs:
        size += len(key)
        size += _base64_size(len(value)) if key.endswith("-bin") else len(value)
    return size


def _base64_size(size: int) -> int:
    return -(-size // 3) * 4
