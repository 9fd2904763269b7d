"""Attacks by header blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hpack import Encoder
from hyperframe.frame import ContinuationFrame, HeadersFrame

from tests.contract.fronts.attacks.attack import (
    FRAMES_A_CHUNK,
    Attack,
    headers_frame,
    on_each_stream,
)
from tests.faults.raw_http2 import request_headers

_PLAIN_HEADER = b"\x00\x01a\x01b"
"""a: b, not indexed."""
_INVALID_HEADER = b"\x00\x01A\x01b"
_EMPTY_HEADER = b"\x00\x00\x00"


def _continuation(path: bytes) -> Iterator[bytes]:
    yield from _continued(path, _PLAIN_HEADER)


def _empty_continuation(path: bytes) -> Iterator[bytes]:
    yield from _continued(path, b"")


def _continued(path: bytes, block: bytes) -> Iterator[bytes]:
    yield HeadersFrame(1, Encoder().encode(request_headers(path), huffman=False)).serialize()
    yield from itertools.repeat(ContinuationFrame(1, block).serialize() * FRAMES_A_CHUNK)


def _bomb(path: bytes) -> Iterator[bytes]:
    """One entry of 4,000 bytes in the table, and 16,000 references to it a frame."""
    encoder = Encoder()
    block = encoder.encode(request_headers(path), huffman=False)
    large = b"\x40\x01a\x7f" + _integer(4_000 - 127) + b"x" * 4_000
    first = HeadersFrame(1, block + large)
    yield first.serialize()
    for _ in range(8):
        yield ContinuationFrame(1, b"\xbe" * 16_000).serialize()
    last = ContinuationFrame(1, b"\xbe" * 16_000)
    last.flags.add("END_HEADERS")
    yield last.serialize()


def _integer(value: int) -> bytes:
    """The rest of an integer of HPACK, after its prefix is full."""
    encoded = bytearray()
    while value >= 128:
        encoded.append(value % 128 + 128)
        value //= 128
    encoded.append(value)
    return bytes(encoded)


def _large(path: bytes) -> Iterator[bytes]:
    block = Encoder().encode(request_headers(path, (b"a", b"x" * (1 << 20))), huffman=False)
    parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    yield HeadersFrame(1, parts[0]).serialize()
    for part in parts[1:]:
        yield ContinuationFrame(1, part).serialize()


HEADERS = (
    Attack("CONTINUATION", _continuation, "CVE-2024-27316"),
    Attack("empty CONTINUATION", _empty_continuation, "CVE-2019-9518"),
    Attack("HPACK bomb", _bomb, "CVE-2016-6581"),
    Attack("large headers", _large),
    Attack(
        "empty HEADERS",
        on_each_stream(lambda stream, _: headers_frame(stream, b"")),
        "CVE-2019-9518",
    ),
    Attack(
        "invalid headers",
        on_each_stream(lambda stream, block: headers_frame(stream, block + _INVALID_HEADER)),
        "CVE-2019-9514",
    ),
)
NAMELESS = Attack(
    "headers without names",
    on_each_stream(
        lambda stream, block: headers_frame(stream, block + _EMPTY_HEADER * 200, "END_STREAM")
    ),
    "CVE-2019-9516",
)
"""Each call is refused, and costs as much as an ordinary one."""
