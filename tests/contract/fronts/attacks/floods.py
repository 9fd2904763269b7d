"""Floods of frames that carry nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.contract.fronts.attacks.attack import (
    Attack,
    on_a_stream,
    on_each_stream,
    opened,
    repeated,
)
from tests.faults.raw_http2 import message

_STREAMS = range(1, 1_601, 2)


def _dribble(path: bytes) -> Iterator[bytes]:
    """Makes the server send the responses of 800 RPCs byte by byte."""
    encoder = Encoder()
    yield SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()
    for stream in _STREAMS:
        request = DataFrame(stream, message(b""), flags=["END_STREAM"])
        yield opened(path, encoder, stream) + request.serialize()
    yield from itertools.repeat(
        b"".join(WindowUpdateFrame(stream, 1).serialize() for stream in _STREAMS)
    )


FLOODS = (
    Attack("PING", repeated(PingFrame(0, bytes(8)).serialize()), "CVE-2019-9512"),
    Attack("PING answers", repeated(PingFrame(0, bytes(8), flags=["ACK"]).serialize())),
    Attack("SETTINGS", repeated(SettingsFrame(0, {3: 1}).serialize()), "CVE-2019-9515"),
    Attack(
        "SETTINGS with many entries",
        repeated(SettingsFrame(0, dict.fromkeys(range(10, 1010), 1)).serialize()),
        "CVE-2020-11080",
    ),
    Attack("SETTINGS answers", repeated(SettingsFrame(0, flags=["ACK"]).serialize())),
    Attack("empty DATA", on_a_stream(DataFrame(1, b"").serialize()), "CVE-2019-9518"),
    Attack("empty PUSH_PROMISE", repeated(PushPromiseFrame(1, 2).serialize()), "CVE-2019-9518"),
    Attack("WINDOW_UPDATE", on_a_stream(WindowUpdateFrame(1, 1).serialize())),
    Attack("data dribble", _dribble, "CVE-2019-9511", opens_streams=True),
    Attack(
        "PRIORITY",
        repeated(PriorityFrame(1, depends_on=0, stream_weight=1).serialize()),
        "CVE-2019-9513",
    ),
    Attack(
        "PRIORITY of many streams",
        on_each_stream(lambda stream, _: PriorityFrame(stream, depends_on=stream - 2).serialize()),
        "CVE-2019-9513",
    ),
    Attack("GOAWAY", repeated(GoAwayFrame(0).serialize())),
    Attack("unknown frames", repeated(b"\0\0\4\xfa\0\0\0\0\0abcd")),
)
