"""A minimal HTTP/2 client on a plain socket: it can send bytes that no gRPC client sends."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_TIMEOUT_S = 10.0
_MOST_A_FRAME = 16_384
Header = tuple[bytes, bytes]


def request_headers(path: bytes, *more: Header) -> list[Header]:
    """The headers of a gRPC request."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]


def _connected(address: str, timeout_s: float) -> socket.socket:
    """A socket to the address; retries while the server restarts."""
    host, _, port = address.rpartition(":")
    give_up = time.monotonic() + timeout_s
    while True:
        try:
            return socket.create_connection((host, int(port)), timeout=timeout_s)
        except (ConnectionRefusedError, ConnectionResetError):
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)


def message(payload: bytes) -> bytes:
    """A gRPC message, uncompressed."""
    return struct.pack(">?I", False, len(payload)) + payload


def request_frames(
    encoder: Encoder, headers: Sequence[Header], body: bytes = b"", stream: int = 1
) -> list[bytes]:
    """The frames of a whole request; long headers have CONTINUATION frames."""
    block = encoder.encode(headers, huffman=False)
    blocks = [block[at : at + _MOST_A_FRAME] for at in range(0, len(block), _MOST_A_FRAME)]
    frames: list[Frame] = [HeadersFrame(stream, blocks[0])]
    frames += [ContinuationFrame(stream, rest) for rest in blocks[1:]]
    frames[-1].flags.add("END_HEADERS")
    data = DataFrame(stream, body)
    data.flags.add("END_STREAM")
    return [frame.serialize() for frame in (*frames, data)]


@dataclass
class Reply:
    """The response on a stream. `reset`: the stream was reset; `gone`: the connection was closed.

    `silent`: nothing more arrived in time.
    """

    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytes = b""
    reset: bool = False
    gone: bool = False
    silent: bool = False

    @property
    def ended_properly(self) -> bool:
        """Whether it has a gRPC or HTTP status, or HTTP/2 itself refused it."""
        status = self.headers.get(b"grpc-status", b"")
        http = self.headers.get(b":status", b"200")
        return status.isdigit() or http != b"200" or self.reset or self.gone


class RawConnection:
    """A connection; `send` takes any bytes. With `tls`, it is secure."""

    def __init__(
        self, address: str, timeout_s: float = _TIMEOUT_S, tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket = _connected(address, timeout_s)
        if tls is not None:
            host = address.rpartition(":")[0]
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        self._encoder, self._decoder = Encoder(), Decoder()
        self._received = b""

    @classmethod
    @contextmanager
    def greeted(cls, address: str, tls: ssl.SSLContext | None = None) -> Iterator[Self]:
        """A connection that has sent the preface; closed at the end."""
        connection = cls(address, tls=tls)
        try:
            connection.send(PREFACE + SettingsFrame(0).serialize())
            yield connection
        finally:
            connection.socket.close()

    def send(self, data: bytes) -> bool:
        """Sends the bytes; False if the other side has closed."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def request(self, headers: Sequence[Header], body: bytes = b"", stream: int = 1) -> list[bytes]:
        """A whole request's frames, to be sent."""
        return request_frames(self._encoder, headers, body, stream)

    def reply(self, stream: int = 1) -> Reply:
        """Reads until the stream, or the connection, has ended."""
        reply = Reply()
        try:
            while not self._take(next(self._frames()), stream, reply):
                pass
        except TimeoutError:
            reply.silent = True
        except (StopIteration, OSError):
            reply.gone = True
        return reply

    def encoded(self, headers: Sequence[Header]) -> bytes:
        """A header block."""
        block: bytes = self._encoder.encode(headers, huffman=False)
        return block

    def decoded(self, frame: Frame) -> dict[bytes, bytes]:
        """The headers of a frame; each must be decoded once, in order."""
        assert isinstance(frame, HeadersFrame)
        return dict(self._decoder.decode(frame.data, raw=True))

    def next_frame(self, stream: int) -> Frame:
        """The next frame of the stream."""
        return next(frame for frame in self._frames() if frame.stream_id == stream)

    def frames_until_end(self, stream: int) -> list[Frame]:
        """The frames of the stream until its end, but WINDOW_UPDATE."""
        frames: list[Frame] = []
        while not frames or "END_STREAM" not in frames[-1].flags:
            frame = self.next_frame(stream)
            if not isinstance(frame, WindowUpdateFrame):
                frames.append(frame)
        return frames

    def ping(self, payload: bytes = bytes(8)) -> bool:
        """Sends a PING and reads until its answer; False if the other side ends the connection."""
        self.send(PingFrame(0, payload).serialize())
        try:
            for frame in self._frames():
                match frame:
                    case PingFrame() if "ACK" in frame.flags:
                        return frame.opaque_data == payload
                    case GoAwayFrame():
                        return False
        except OSError:
            return False
        return False

    def until_message(self, stream: int = 1) -> None:
        """Reads until a message of the stream, or a part of one, has come."""
        reply = Reply()
        while not reply.data:
            self._take(next(self._frames()), stream, reply)

    def until_closed(self, within_s: float = _TIMEOUT_S) -> None:
        """Reads until the other side closes; raises TimeoutError if it does not."""
        self.socket.settimeout(within_s)
        with suppress(ConnectionResetError):
            while self.socket.recv(65_536):
                pass

    def stays_open(self, seconds: float) -> bool:
        """Reads for that time; False if the other side ends the connection."""
        give_up = time.monotonic() + seconds
        try:
            while (left_s := give_up - time.monotonic()) > 0:
                self.socket.settimeout(left_s)
                if isinstance(next(self._frames()), GoAwayFrame):
                    return False
        except TimeoutError:
            return True
        except OSError:
            return False
        finally:
            self.socket.settimeout(_TIMEOUT_S)
        return True

    def _take(self, frame: Frame, stream: int, reply: Reply) -> bool:
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                self.send(SettingsFrame(0, flags=["ACK"]).serialize())
            case PingFrame() if "ACK" not in frame.flags:
                self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
            case GoAwayFrame():
                reply.gone = True
            case HeadersFrame():
                reply.headers.update(self._decoder.decode(frame.data, raw=True))
            case DataFrame() if frame.stream_id == stream:
                reply.data += frame.data
            case RstStreamFrame() if frame.stream_id == stream:
                reply.reset = True
        ended = frame.stream_id == stream and "END_STREAM" in frame.flags
        return ended or reply.reset or reply.gone

    def _frames(self) -> Iterator[Frame]:
        while True:
            head = self._read(9)
            frame, length = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(self._read(length)))
            yield frame

    def _read(self, size: int) -> bytes:
        while len(self._received) < size:
            more = self.socket.recv(65_536)
            if not more:
                raise ConnectionResetError
            self._received += more
        data, self._received = self._received[:size], self._received[size:]
        return data
