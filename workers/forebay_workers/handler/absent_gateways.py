"""Gateways that do not listen to their replies: for how long a reply waits for each. Pure."""

from __future__ import annotations

from forebay_backends.ledger.scripts import RENEWAL_INTERVAL_S

PATIENCE_S = RENEWAL_INTERVAL_S
"""Within this time, a gateway that has lost its connection listens again."""
_MAX_COUNT = 1000


class AbsentGateways:
    """The channels that nobody listens to, and since when. Threads may share an object.

    The first replies to a channel wait for its gateway, which may be connecting again. If it does
    not come back, it has ended, and later replies to it do not wait.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def reached(self, channel: str) -> None:
        """Notes that a reply has reached the channel's gateway."""
        if self._since:
            self._since.pop(channel, None)

    def may_return(self, channel: str, now: float) -> bool:
        """Notes that a reply has reached nobody; whether to send it again later."""
        since = self._since.setdefault(channel, now)
        if len(self._since) > _MAX_COUNT:
            oldest, *_ = tuple(self._since)  # not by an iterator, which another thread could break
            self._since.pop(oldest, None)
        return now - since < PATIENCE_S
