"""Attacks by streams that end early: reset by the caller, or by the server for what it does.

The second kind is called MadeYouReset: https://www.cve.org/CVERecord?id=CVE-2025-8671
"""

from __future__ import annotations

from collections.abc import Callable

from hyperframe.frame import (
    DataFrame,
    PriorityFrame,
    RstStreamFrame,
    WindowUpdateFrame,
)

from tests.contract.fronts.attacks.attack import Attack, headers_frame, on_each_stream
from tests.faults.raw_http2 import Header, request_headers

_LARGEST_WINDOW = 2**31 - 1
_INVALID_MESSAGE = b"\7\0\0\0\0"
_DEADLINE_OF_1_NS = b"\x00\x0cgrpc-timeout\x021n"
_INVALID_DEADLINE = b"\x00\x0cgrpc-timeout\x01x"


def _after_headers(frame: Callable[[int], bytes], *flags: str) -> Callable[[int, bytes], bytes]:
    return lambda stream, block: headers_frame(stream, block, *flags) + frame(stream)


def _made(
    name: str,
    frames: Callable[[int, bytes], bytes],
    headers: Callable[[bytes], list[Header]] = request_headers,
    *,
    opens_streams: bool = False,
) -> Attack:
    chunks = on_each_stream(frames, headers)
    return Attack(f"server reset by {name}", chunks, "CVE-2025-8671", opens_streams)


def _of_no_grpc(path: bytes) -> list[Header]:
    plain = {b"content-type": b"text/plain"}
    return [(name, plain.get(name, value)) for name, value in request_headers(path)]


def _of_an_unknown_method(_: bytes) -> list[Header]:
    return request_headers(b"/no.Such/Method")


RESETS = (
    Attack(
        "rapid reset",
        on_each_stream(_after_headers(lambda stream: RstStreamFrame(stream, 8).serialize())),
        "CVE-2023-44487",
    ),
    _made(
        "an invalid message",
        _after_headers(lambda stream: DataFrame(stream, _INVALID_MESSAGE).serialize()),
    ),
    _made("a deadline", lambda stream, block: headers_frame(stream, block + _DEADLINE_OF_1_NS)),
    _made("too many streams", headers_frame, opens_streams=True),
)
MALFORMED = (
    _made(
        "WINDOW_UPDATE of 0",
        _after_headers(lambda stream: b"\0\0\4\x08\0" + stream.to_bytes(4, "big") + bytes(4)),
    ),
    _made(
        "too large a window",
        _after_headers(lambda stream: WindowUpdateFrame(stream, _LARGEST_WINDOW).serialize()),
    ),
    _made(
        "DATA after its end",
        _after_headers(lambda stream: DataFrame(stream, b"x").serialize(), "END_STREAM"),
    ),
    _made(
        "HEADERS after its end",
        lambda stream, block: headers_frame(stream, block, "END_STREAM") * 2,
    ),
    _made(
        "PRIORITY on itself",
        _after_headers(lambda stream: PriorityFrame(stream, depends_on=stream).serialize()),
        opens_streams=True,
    ),
    _made(
        "PRIORITY of 1 byte",
        _after_headers(lambda stream: b"\0\0\1\x02\0" + stream.to_bytes(4, "big") + b"\1"),
    ),
)
REFUSED = (
    _made("no gRPC", headers_frame, _of_no_grpc),
    _made("an unknown method", headers_frame, _of_an_unknown_method),
    _made(
        "an invalid deadline",
        lambda stream, block: headers_frame(stream, block + _INVALID_DEADLINE),
    ),
)
"""Requests that the server answers before they end."""
