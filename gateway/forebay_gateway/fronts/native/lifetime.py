"""When a connection is pinged, renewed and given up. Pure.

Keepalive: https://github.com/grpc/proposal/blob/master/A9-server-side-conn-mgt.md
"""

from __future__ import annotations

from enum import Enum, auto

from forebay.jitter import between
from forebay_gateway.fronts.limits import FrontLimits

_GREETING_S = 20.0
"""How long a new connection may take to send its preface and SETTINGS."""
_FRAME_S = 60.0
"""How long one frame may take: a caller that sends byte by byte holds a connection."""
_NOTICE_S = 10.0
"""How long new RPCs are accepted after the first GOAWAY if its ping is not answered."""
_LAST_BYTES_S = 10.0
"""How long a caller may take to read the last bytes of a connection that was closed."""
_AGE_JITTER = 0.1


class Action(Enum):
    """An action that is due for a connection."""

    PING = auto()
    GO_AWAY = auto()
    GO_AWAY_FINALLY = auto()
    ABORT = auto()
    NONE = auto()


class Lifetime:
    """The clocks of one connection."""

    def __init__(self, limits: FrontLimits, now: float) -> None:
        self.greeted = False
        """Whether the caller's SETTINGS have arrived."""
        self.final_goaway_sent = False
        self._limits = limits
        self._opened = self._received = now
        self._partial_since: float | None = None
        jitter = 1 + between(-_AGE_JITTER, _AGE_JITTER)
        self._renew_at = now + limits.max_connection_age_s * jitter
        self._pinged_at: float | None = None
        self._notice_at: float | None = None
        self._closed_at: float | None = None

    def received(self, now: float, *, frames: int) -> None:
        """Records that bytes arrived, which completed this number of frames."""
        self._received = now
        self._pinged_at = None
        if frames:
            self._partial_since = None
        elif self._partial_since is None:
            self._partial_since = now

    def go_away(self, now: float) -> bool:
        """Begins to close the connection; returns False if that had begun before."""
        if self._notice_at is not None:
            return False
        self._notice_at = now
        return True

    def notice_heard(self) -> bool:
        """Whether the final GOAWAY is due, now that the caller has read the first one."""
        return self._notice_at is not None and not self.final_goaway_sent

    def closed(self, now: float) -> None:
        """Records that nothing more is written to the connection."""
        self._closed_at = now

    def close_is_overdue(self, now: float) -> bool:
        """Whether the caller did not read its last bytes in time."""
        return self._closed_at is not None and now - self._closed_at > _LAST_BYTES_S

    def due(self, now: float) -> Action:
        """The one action that is due now; a ping counts as sent then."""
        limits = self._limits
        if not self.greeted:
            return Action.ABORT if now - self._opened > _GREETING_S else Action.NONE
        if self._partial_since is not None and now - self._partial_since > _FRAME_S:
            return Action.ABORT
        if self._pinged_at is not None and now - self._pinged_at > limits.keepalive_timeout_s:
            return Action.ABORT
        if self._notice_at is not None:
            return self._due_in_the_end(now, self._notice_at)
        if now >= self._renew_at:
            return Action.GO_AWAY
        return self._ping(now)

    def _due_in_the_end(self, now: float, notice_at: float) -> Action:
        if now - notice_at > self._limits.max_connection_age_grace_s:
            return Action.ABORT
        if not self.final_goaway_sent and now - notice_at > _NOTICE_S:
            return Action.GO_AWAY_FINALLY
        return self._ping(now)

    def _ping(self, now: float) -> Action:
        if self._pinged_at is None and now - self._received >= self._limits.keepalive_time_s:
            self._pinged_at = now
            return Action.PING
        return Action.NONE
