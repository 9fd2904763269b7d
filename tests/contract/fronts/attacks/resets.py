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

_LARGEST_WINDOW = 2**31 - 1
_INVALID_MESSAGE = b"\7\0\0\0\0"
_DEADLINE_OF_1_NS = b"\x00\x0cgrpc-timeout\x021n"


def _after_headers(frame: Callable[[int], bytes], *flags: str) -> Callable[[int, bytes], bytes]:
    return lambda stream, block: headers_frame(stream, block, *flags) + frame(stream)


def _made(name: str, frames: Callable[[int, bytes], bytes]) -> Attack:
    return Attack(f"server reset by {name}", on_each_stream(frames), "CVE-2025-8671")


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
    _made("too many streams", headers_frame),
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
    ),
    _made(
        "PRIORITY of 1 byte",
        _after_headers(lambda stream: b"\0\0\1\x02\0" + stream.to_bytes(4, "big") + b"\1"),
    ),
)
