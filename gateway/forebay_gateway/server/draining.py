"""Waits for the calls in flight of a gateway that shuts down."""

from __future__ import annotations

import asyncio
import logging

from forebay_backends.aio.polling import poll_until
from forebay_gateway.admission.admission import Admission

_HAND_OVER_S = 0.02
_FIRST_REQUESTS_S = 0.2

_log = logging.getLogger(__name__)


async def drained(admission: Admission, grace_s: float) -> None:
    """Accepts no more calls, and waits up to `grace_s` until none is in flight."""
    await asyncio.sleep(_HAND_OVER_S)  # until then gRPC may hand over calls it has accepted
    await _arrived(admission)
    admission.drain()
    await _ended(admission, grace_s)


async def _arrived(admission: Admission) -> None:
    """Waits for the first requests of calls that have begun, but not for silent callers."""
    await poll_until(lambda: admission.calls.held <= admission.accepted, _FIRST_REQUESTS_S)


async def _ended(admission: Admission, grace_s: float) -> None:
    """Waits up to `grace_s` until no call is in flight."""
    if admission.accepted:
        _log.info("draining: %d calls in flight, %g s of grace", admission.accepted, grace_s)
    await poll_until(lambda: not admission.accepted, grace_s)
