"""Why an RPC was cancelled: its deadline passed, or its caller left."""

from __future__ import annotations

_CALLERS_LEAD_S = 0.05
"""A caller's clock runs since before its request was sent, so it cancels before ours ends."""


def is_at_deadline(remaining_s: float | None) -> bool:
    """Whether an RPC that is cancelled now, with so much time left, was cancelled for its deadline.

    None: it has no deadline.
    """
    return remaining_s is not None and remaining_s < _CALLERS_LEAD_S
