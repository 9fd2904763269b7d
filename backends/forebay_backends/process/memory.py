"""Memory of processes that serve: malloc keeps freed memory, the collector skips old objects.

`keep_freed_memory`: glibc returns freed memory at the end of its heap to the system as soon as that
is a few large messages. The next messages then need new pages, which the kernel allocates and
clears: a third of a gateway's CPU time while it passes on messages of 1 MiB.

`freeze_startup_objects`: Python's garbage collector scans all live objects whenever their number
has grown by a quarter. In a gateway this takes 25 to 50 ms, after each 3,000 calls or so, and all
calls wait meanwhile. Objects made at startup live for good, so they need no scan.
"""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 64 << 20
_MMAP_ABOVE_BYTES = 32 << 20
"""Single blocks above this size are still mapped, and returned to the system when freed."""


def keep_freed_memory() -> None:
    """Lets this process keep up to 64 MiB of freed memory. Does nothing without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_ABOVE_BYTES)


def freeze_startup_objects() -> None:
    """Collects garbage, then excludes all live objects from later collections.

    Only for processes that Forebay owns, not for those that embed it.
    """
    gc.collect()
    gc.freeze()
