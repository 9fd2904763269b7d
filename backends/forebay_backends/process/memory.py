"""How a process that serves keeps its memory.

What messages were in is used again, not given back to the system for each. glibc unmaps what was
freed at the end of a heap as soon as that is a few large messages, so the next ones come in
pages that the kernel has to make and clear first: a third of a gateway's time while it passes
on messages of 1 MiB.

What was made at the start stays, and is not looked at again. Python's garbage collector goes
through all that lives whenever a quarter as much has been added: for a gateway that is 25 to
50 ms in which every call stands still, after each 3,000 calls or so.
"""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT_BYTES = 64 << 20
_MAPPED_ABOVE_BYTES = 32 << 20
"""Single blocks above this go back to the system at once, as ever."""


def keep_freed_memory() -> None:
    """Lets this process keep some 64 MB that it has freed. Does nothing without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_ABOVE_BYTES)


def freeze_startup_objects() -> None:
    """Keeps the garbage collector from all that lives by now, for good. For whole processes."""
    gc.collect()
    gc.freeze()
