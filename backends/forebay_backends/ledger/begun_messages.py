"""The marks on messages of ephemeral calls that must run at most once. Pure.

A worker marks such a message in the ledger before it runs it. A gateway whose send failed does not
know whether the broker has the message, so it marks the message too. The first mark decides: after
the gateway's, no worker runs the message; after a worker's, the gateway waits for the replies.
"""

from __future__ import annotations

import os

WITHDRAWN = b"withdrawn"
"""The mark of a gateway, which has told the callers that their calls failed."""

_KEPT_LONGER_MS = 60_000  # because processes only estimate the ledger's clock


def new_mark() -> bytes:
    """The mark of a worker, which recognizes its own if it has to repeat the command."""
    return os.urandom(8)


def kept_for_ms(expires_ms: int, now_ms: float) -> int:
    """How long the ledger keeps a mark: until the message expires, and a minute."""
    return max(1, round(expires_ms - now_ms)) + _KEPT_LONGER_MS
