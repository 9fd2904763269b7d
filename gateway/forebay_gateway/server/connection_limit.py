"""Limits callers' connections so that file descriptors remain for backends.

If connections used up all descriptors, the gateway could not reach its backends, and gRPC would
leave new callers waiting. Instead the front closes connections over the limit at once: their
callers get UNAVAILABLE and can use another gateway.
"""

from __future__ import annotations

import logging

from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.process import descriptors

_RESERVED = 160
"""For backends (64 to the ledger, and pub/sub), log, event loop, and gRPC's listeners."""
_LEAST = 16
_CHECK_INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


def max_connections(ports: int = 1) -> int:
    """The most connections to each of this process's ports, by its current descriptor limit."""
    return max(_LEAST, (descriptors.limit() - _RESERVED) // ports)


async def report_limit() -> None:
    """Logs when the descriptors for callers are used up, and when they no longer are."""
    outage = OutageLog(
        _log, "new connections may be refused", "there are file descriptors for connections again"
    )

    async def check() -> None:
        used, most = descriptors.in_use(), descriptors.limit()
        if used > most - _RESERVED:
            outage.failed(
                OSError(f"{used} of {most} file descriptors are in use; raise RLIMIT_NOFILE")
            )
        else:
            outage.succeeded()

    await run_periodically(_CHECK_INTERVAL_S, check, _log, "counting file descriptors")
