"""Why an RPC was cancelled: its deadline passed, or its caller left."""

from __future__ import annotations

_CALLERS_LEAD_S = 0.05
"""A caller's deadline starts before its request arrives, so it cancels before ours passes."""


def is_at_deadline(remaining_s: float | None) -> bool:
    """Whether an RPC that is cancelled with so much time left was cancelled for its deadline.

    `remaining_s` is None if it has no deadline.
    """
    return remaining_s is not None and remaining_s < _CALLERS_LEAD_S
