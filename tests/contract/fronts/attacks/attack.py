"""Runs an attack until the server ends its connection."""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, SettingsFrame

from tests.faults.raw_http2 import PREFACE, Header, request_headers

FRAMES_A_CHUNK = 500
_QUIET_S = 1.0
"""A server that sends nothing for so long has taken in the attack."""
_SEND_BUFFER_BYTES = 256 << 10
"""Small, so that little was sent that the server has not read."""


@dataclass(frozen=True)
class Attack:
    """`chunks` yields what is sent, for as long as the server takes it: whole frames.

    `cve` is a published attack of this kind.
    """

    name: str
    chunks: Callable[[bytes], Iterator[bytes]]
    cve: str = ""
    opens_streams: bool = False
    """Holds many open streams, so it may use the memory of them."""


@dataclass(frozen=True)
class Outcome:
    """How an attack ended; `error_code` is that of the GOAWAY, None without one."""

    sent_bytes: int
    sent_frames: int
    seconds: float
    cut_off: bool
    error_code: int | None


def run_attack(
    address: str, attack: Attack, path: bytes, max_bytes: int, max_s: float = 20.0
) -> Outcome:
    """Attacks until it is cut off, or one of the limits is reached."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=max_s) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        running = _Running(connection)
        return running.run(itertools.chain([_GREETING], attack.chunks(path)), max_bytes, max_s)


_GREETING = PREFACE + SettingsFrame(0).serialize()


class _Running:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._began = time.monotonic()
        self._sent_bytes = self._sent_frames = 0
        self._received = bytearray()

    def run(self, chunks: Iterator[bytes], max_bytes: int, max_s: float) -> Outcome:
        for chunk in chunks:
            try:
                self._connection.sendall(chunk)
                self._sent_bytes += len(chunk)
                self._sent_frames += _frames(chunk)
                if select.select([self._connection], [], [], 0)[0]:
                    self._received += self._connection.recv(1 << 20)
            except TimeoutError:
                break
            except OSError:
                return self._outcome(True, self._goaway())
            code = self._goaway()
            if code is not None:
                return self._outcome(True, code)
            if self._sent_bytes >= max_bytes or time.monotonic() - self._began > max_s:
                break
        return self._rest(self._began + max_s)

    def _rest(self, until: float) -> Outcome:
        """Reads the server's answer, now that all was sent."""
        self._connection.settimeout(_QUIET_S)
        try:
            while time.monotonic() < until + _QUIET_S:
                code = self._goaway()
                if code is not None or not (more := self._connection.recv(1 << 20)):
                    return self._outcome(True, code)
                self._received += more
            return self._outcome(False, None)
        except TimeoutError:
            return self._outcome(False, self._goaway())
        except OSError:
            return self._outcome(True, self._goaway())

    def _outcome(self, cut_off: bool, code: int | None) -> Outcome:
        seconds = time.monotonic() - self._began
        return Outcome(self._sent_bytes, self._sent_frames, seconds, cut_off, code)

    def _goaway(self) -> int | None:
        received, at = self._received, 0
        while len(received) - at >= 9:
            frame, length = Frame.parse_frame_header(memoryview(bytes(received[at : at + 9])))
            if len(received) - at - 9 < length:
                break
            if isinstance(frame, GoAwayFrame):
                return int.from_bytes(received[at + 13 : at + 17], "big")
            at += 9 + length
        del received[:at]
        return None


def _frames(chunk: bytes) -> int:
    count, at = 0, len(PREFACE) if chunk.startswith(PREFACE) else 0
    while at < len(chunk):
        at += 9 + int.from_bytes(chunk[at : at + 3], "big")
        count += 1
    return count


# Parts of attacks


def repeated(frame: bytes) -> Callable[[bytes], Iterator[bytes]]:
    """The frame again and again."""
    return lambda _: itertools.repeat(frame * FRAMES_A_CHUNK)


def on_a_stream(frame: bytes) -> Callable[[bytes], Iterator[bytes]]:
    """An RPC on stream 1, then the frame again and again."""
    return lambda path: itertools.chain(
        [opened(path, Encoder())], itertools.repeat(frame * FRAMES_A_CHUNK)
    )


def on_each_stream(
    frames: Callable[[int, bytes], bytes],
    headers: Callable[[bytes], list[Header]] = request_headers,
) -> Callable[[bytes], Iterator[bytes]]:
    """`frames` of a stream and a block of the headers, for one stream after the other."""

    def chunks(path: bytes) -> Iterator[bytes]:
        encoder = Encoder()
        streams = itertools.count(3, 2)
        yield headers_frame(1, encoder.encode(headers(path), huffman=False))
        # From now on all headers are in HPACK's table, so the block is always the same.
        block = encoder.encode(headers(path), huffman=False)
        while True:
            some = itertools.islice(streams, FRAMES_A_CHUNK)
            yield b"".join(frames(stream, block) for stream in some)

    return chunks


def opened(path: bytes, encoder: Encoder, stream: int = 1) -> bytes:
    """The HEADERS of an RPC."""
    return headers_frame(stream, encoder.encode(request_headers(path), huffman=False))


def headers_frame(stream: int, block: bytes, *flags: str) -> bytes:
    """A HEADERS frame that no CONTINUATION follows."""
    frame: bytes = HeadersFrame(stream, block, flags=["END_HEADERS", *flags]).serialize()
    return frame
