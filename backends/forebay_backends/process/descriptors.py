"""File descriptors: how many this process uses, and how many it may use."""

from __future__ import annotations

import contextlib
import os
import resource
from errno import EMFILE


def raise_limit() -> None:
    """Raises the soft limit to the hard limit: on many systems, from 1,024 to 1,048,576."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def in_use() -> int:
    """The number of open descriptors; 0 on systems without /dev/fd."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError as error:  # listing needs a descriptor, too
        return limit() if error.errno == EMFILE else 0
