"""A client that makes equal unary gRPC calls on one HTTP/2 connection (RFC 9113). It does no I/O.

A call costs this client microseconds. A client library spends more on a call than a fast
server does, so it would dominate the measurement. Here a request is a few prebuilt bytes.
The first request puts the headers into the server's table (HPACK, RFC 7541), as any client
does that calls again. After that, requests differ only in the stream's id and, optionally,
in headers that have another value in each call. The client asks the server for responses
without a header table (SETTINGS_HEADER_TABLE_SIZE 0), so that it can compare trailers byte by
byte.
"""

from __future__ import annotations

import struct
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

from hpack import Decoder, Encoder
from hpack.hpack import encode_integer

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE = 0x1, 0x4
_HEAD_BYTES = 9
_DEFAULT_WINDOW = 65_535
_MOST_WINDOW = (1 << 31) - 1
_STATUS_OK = (b"\x0bgrpc-status\x010", b"\x88\x9a\xca\xc8\xb2\x124\xda\x8f\x010")
"""`grpc-status: 0` as literals: in plain text, as gRPC's servers write it, and with the name
Huffman-coded, as nghttp2 does."""


class ConnectionLost(Exception):
    """The server ended the connection, or violated HTTP/2."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame: 24 bits of length, 8 of kind, 8 of flags, 32 of the stream's id, the payload."""
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def message(payload: bytes) -> bytes:
    """A gRPC message, uncompressed."""
    return struct.pack(">?I", False, len(payload)) + payload


class Call:
    """The call that is made again and again.

    `answer` is what must come back; `own_ids` gives each call an id of its own. `own_headers` are
    headers with the values that they have from call to call.
    """

    def __init__(self, path: str, request: bytes, answer: bytes, *, own_ids: bool = False) -> None:
        self.headers: Sequence[tuple[str, str]] = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        )
        self.body = message(request)
        self.answer = message(answer)
        self.own_headers: list[tuple[bytes, Iterator[bytes]]] = []
        if own_ids:
            self.own_headers.append((b"forebay-call-id", _ids()))


class Session:
    """One connection's calls. `outgoing` has the bytes to send; the sender clears it."""

    def __init__(self, call: Call) -> None:
        self._answer = call.answer
        self._requests = _Requests(call)
        settings = struct.pack(">HIHI", _HEADER_TABLE_SIZE, 0, _INITIAL_WINDOW_SIZE, _MOST_WINDOW)
        self.outgoing = bytearray(_PREFACE + frame(_SETTINGS, 0, 0, settings))
        self.outgoing += _window_update(_MOST_WINDOW - _DEFAULT_WINDOW)
        self.failures: Counter[str] = Counter()
        self._begun: dict[int, float] = {}
        self._right: set[int] = set()
        self._rest = b""
        self._received = 0
        self._credit = _DEFAULT_WINDOW
        self._owed = 0

    @property
    def in_flight(self) -> int:
        """The number of calls that have not ended, with those that still wait for credit."""
        return len(self._begun) + self._owed

    def begin(self, calls: int, now: float) -> None:
        """Begins `calls` calls; those beyond the server's flow control window wait for credit."""
        self._owed += calls
        able = min(self._owed, self._credit // self._requests.body_bytes)
        for _ in range(able):
            stream = self._requests.append_to(self.outgoing)
            self._begun[stream] = now
        self._owed -= able
        self._credit -= able * self._requests.body_bytes

    def receive(self, data: bytes, now: float) -> list[float]:
        """Handles bytes from the server; returns the times (s) of the calls that they complete.

        Failed calls are counted in `failures` instead, by their error. Raises ConnectionLost.
        """
        data = self._rest + data
        at, end, times = 0, len(data), []
        begun, right, answer = self._begun, self._right, self._answer
        while at + _HEAD_BYTES <= end:
            stop = at + _HEAD_BYTES + (data[at] << 16 | data[at + 1] << 8 | data[at + 2])
            if stop > end:
                break
            kind, flags = data[at + 3], data[at + 4]
            stream = int.from_bytes(data[at + 5 : at + _HEAD_BYTES], "big")
            payload = data[at + _HEAD_BYTES : stop]
            at = stop
            if kind == _HEADERS:
                if flags & _END_STREAM and stream in begun:
                    if stream in right and _is_ok(payload):
                        right.remove(stream)
                        times.append(now - begun.pop(stream))
                    else:
                        self._fail(stream, _status(payload))
            elif kind == _DATA:
                self._received += len(payload)
                if payload == answer:
                    right.add(stream)
            else:
                self._control(kind, flags, stream, payload)
        self._rest = data[at:]
        self._give_credit()
        return times

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _WINDOW_UPDATE:
            self._credit += int.from_bytes(payload, "big") if stream == 0 else 0
        elif kind == _PING and not flags & _ACK:
            self.outgoing += frame(_PING, _ACK, 0, payload)
        elif kind == _SETTINGS and not flags & _ACK:
            self.outgoing += frame(_SETTINGS, _ACK, 0, b"")
        elif kind == _RST_STREAM and stream in self._begun:
            self._fail(stream, f"reset {int.from_bytes(payload, 'big')}")
        elif kind == _GOAWAY:
            raise ConnectionLost(f"the server said GOAWAY: {payload!r}")

    def _fail(self, stream: int, status: str) -> None:
        del self._begun[stream]
        self._right.discard(stream)
        self.failures[status] += 1

    def _give_credit(self) -> None:
        if self._received > _MOST_WINDOW // 2:
            self.outgoing += _window_update(self._received)
            self._received = 0


class _Requests:
    """Prebuilt frames; the first request of a connection fills the server's table of headers."""

    def __init__(self, call: Call) -> None:
        encoder = Encoder()
        first, self._block = (encoder.encode(call.headers, huffman=False) for _ in range(2))
        self._next_block = first
        self._streams = count(1, 2)
        # They enter no table (RFC 7541, 6.2.2).
        self._own_headers = [(b"\x00" + _text(name), values) for name, values in call.own_headers]
        self.body_bytes = len(call.body)
        self._data_head = frame(_DATA, _END_STREAM, 0, call.body)[:5]
        self._body = call.body

    def append_to(self, outgoing: bytearray) -> int:
        """Appends the next request, and returns its stream's id."""
        block = self._next_block
        self._next_block = self._block
        for name, values in self._own_headers:
            block += name + _text(next(values))
        stream = next(self._streams)
        head = stream.to_bytes(4, "big")
        outgoing += (len(block) << 16 | _HEADERS << 8 | _END_HEADERS).to_bytes(5, "big")
        outgoing += b"%b%b%b%b%b" % (head, block, self._data_head, head, self._body)
        return stream


def _ids() -> Iterator[bytes]:
    prefix = uuid.uuid4().hex.encode()
    return (b"%s-%010d" % (prefix, number) for number in count())


def _text(text: bytes) -> bytes:
    """A string of HPACK, not Huffman-coded (RFC 7541, 5.2)."""
    return bytes(encode_integer(len(text), 7)) + text


def _window_update(size: int) -> bytes:
    return frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", size))


def _is_ok(trailers: bytes) -> bool:
    plain, coded = _STATUS_OK
    return coded in trailers or plain in trailers


def _status(block: bytes) -> str:
    """The status in the trailers, from a full decoding."""
    headers = dict(Decoder().decode(block, raw=True))
    status = headers.get(b"grpc-status", b"none").decode()
    if status == "0":
        return "another answer"
    return f"grpc-status {status}: {headers.get(b'grpc-message', b'').decode()}"
