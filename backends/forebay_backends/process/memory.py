"""Tunes malloc and the garbage collector for processes that serve calls.

`keep_freed_memory`: by default, glibc soon returns freed memory at the end of its heap to the
system: a few large messages suffice. The next messages then need new pages, which the kernel must
allocate and clear. That takes a third of a gateway's CPU time while it passes on messages of 1 MiB.

`FreedMemory`: by itself, glibc never returns memory that was freed below the end of a heap, and
threads have heaps of their own. So after a burst of messages a process would keep most of their
memory.

`freeze_startup_objects`: Python's garbage collector scans all live objects whenever their number
has grown by a quarter. In a gateway a scan takes 25 to 50 ms, about every 3,000 calls, and all
calls wait meanwhile. Objects made at startup are never freed, so the scans skip them.

`collect_rarely`: the collector also scans the latest objects, whenever 700 more were made than
freed. Under load a gateway's latest objects are those of the calls in flight: it scans them every
20 calls, which takes 9 µs a call, and finds next to no garbage: few calls leave cycles.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES = 64 << 20
_MMAP_ABOVE_BYTES = 32 << 20
"""A block above this size still gets a mapping of its own, which `free` returns to the system."""
_COLLECT_EVERY = 10_000
"""How many objects more than freed start a collection: those of about 200 calls in flight."""
_STATM = Path("/proc/self/statm")  # in pages: size, resident, …; proc_pid_statm(5)


def keep_freed_memory() -> None:
    """Lets this process keep up to 64 MiB of freed memory. Does nothing without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_ABOVE_BYTES)


class _Mallinfo2(ctypes.Structure):
    """The `struct mallinfo2` of mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def resident_bytes() -> int:
    """The resident memory of this process; 0 on systems other than Linux."""
    try:
        with _STATM.open("rb", buffering=0) as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def allocated_bytes() -> int:
    """The memory that malloc has given out; 0 without glibc 2.33."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return 0
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return int(found.uordblks + found.hblkhd)


def _malloc_trim() -> None:
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


class FreedMemory:
    """Returns freed memory to the system once this process keeps more than `KEPT_BYTES` of it."""

    def __init__(
        self,
        resident: Callable[[], int] = resident_bytes,
        allocated: Callable[[], int] = allocated_bytes,
        trim: Callable[[], None] = _malloc_trim,
    ) -> None:
        self._resident, self._allocated, self._trim = resident, allocated, trim
        self._at_start = self._rest = self._kept()
        """Resident memory that malloc does not count and no trim returns: code, Python's heap."""

    def give_back(self) -> bool:
        """Calls malloc_trim if there is enough to return; returns whether it did.

        A trim takes milliseconds, and blocks malloc in other threads.
        """
        kept = self._kept()
        # After a trim in the middle of a burst, `_rest` has much that a later trim can return.
        self._rest = self._at_start + max(0, self._rest - self._at_start) // 2
        if kept - self._rest <= KEPT_BYTES:
            return False
        self._trim()
        self._rest = self._kept()
        return True

    def _kept(self) -> int:
        return self._resident() - self._allocated()


def freeze_startup_objects() -> None:
    """Collects garbage, then excludes all live objects from later collections.

    Only for processes that Forebay owns, not for those that embed it.
    """
    gc.collect()
    gc.freeze()


def collect_rarely() -> None:
    """For a gateway that has started: `freeze_startup_objects`, and fewer collections.

    Not for workers, whose handlers may leave large cycles.
    """
    freeze_startup_objects()
    gc.set_threshold(_COLLECT_EVERY, *gc.get_threshold()[1:])
