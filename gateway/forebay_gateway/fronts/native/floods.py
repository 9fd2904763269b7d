"""Limits on frames that cost the server work without carrying data. Pure.

nghttp2 limits resets by the caller, CONTINUATION frames, entries of SETTINGS, and unsent
acknowledgements; `http2.py` sets these limits.
"""

from __future__ import annotations

MAX_RESETS, RESETS_PER_S = 10_000, 1_000
"""Limits of RPCs that a caller ends early: it may reset each one that reaches its deadline."""
_IDLE_FRAMES, _IDLE_FRAMES_PER_S = 10_000, 1_000
_FRAMES_PER_REQUEST = 2
"""gRPC's C core sends two WINDOW_UPDATEs with each RPC that it starts, before any response."""
_BYTES_PER_IDLE_FRAME = 16
"""A caller may send a WINDOW_UPDATE for each frame of a response, even for one of 16 bytes."""
_MAX_PING_STRIKES = 2


class Allowance:
    """A connection may do something `most` times at once, and `per_s` times a second after that."""

    __slots__ = ("_at", "_left", "_most", "_per_s")

    def __init__(self, most: float, per_s: float, now: float) -> None:
        self._most = most
        self._per_s = per_s
        self._at = now
        self._left = most

    def give(self, count: float) -> None:
        self._left += count

    def take(self, count: int, now: float) -> bool:
        """Whether the connection may go on."""
        refill = (now - self._at) * self._per_s
        self._left = min(self._most, self._left + refill) - count
        self._at = now
        return self._left >= 0


class IdleFrames:
    """Frames that carry nothing: SETTINGS, PING, WINDOW_UPDATE, empty DATA.

    A connection may send 10,000 at once. Its allowance grows by 1,000 a second, by two for each
    request, and by one for each 16 bytes that are sent to it. Requests themselves are limited by
    the streams that may be open, and by nghttp2's limit on resets.
    """

    __slots__ = ("_allowance",)

    def __init__(self, now: float) -> None:
        self._allowance = Allowance(_IDLE_FRAMES, _IDLE_FRAMES_PER_S, now)

    def sent(self, size: int) -> None:
        self._allowance.give(size / _BYTES_PER_IDLE_FRAME)

    def requested(self, count: int) -> None:
        self._allowance.give(count * _FRAMES_PER_REQUEST)

    def received(self, count: int, now: float) -> bool:
        """Whether the connection may go on."""
        return self._allowance.take(count, now)


class PingStrikes:
    """gRPC's policy: two pings may come too early; the next one ends the connection.

    A response resets the count (`forgive`): clients that receive ping to estimate the bandwidth.
    https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md
    """

    __slots__ = ("_last", "_min_interval_s", "_strikes")

    def __init__(self, min_interval_s: float) -> None:
        self._min_interval_s = min_interval_s
        self._last: float | None = None
        self._strikes = 0

    def forgive(self) -> None:
        self._last, self._strikes = None, 0

    def received(self, now: float) -> bool:
        """Whether the connection may go on."""
        if self._last is not None and now - self._last < self._min_interval_s:
            self._strikes += 1
        self._last = now
        return self._strikes <= _MAX_PING_STRIKES
