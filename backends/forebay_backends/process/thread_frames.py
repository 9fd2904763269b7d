"""The stacks of the threads of this process."""

from __future__ import annotations

import gc
import os
import sys
import sysconfig
import traceback
from types import FrameType

_LIBRARY = sysconfig.get_path("stdlib") + os.sep
_INSTALLED = tuple(sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib"))


def current_frames() -> dict[int, FrameType]:
    """The innermost frame of each thread, by the thread's identifier.

    In CPython 3.11, `sys._current_frames` may deadlock if the garbage collector runs in it while
    another thread ends: https://github.com/python/cpython/issues/106883
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if was_enabled:
            gc.enable()


def place_outside_library(frame: FrameType) -> str:
    """The innermost function that is not of the standard library, with its file and line.

    Threads and coroutines usually wait in functions of the standard library.
    """
    stack = traceback.extract_stack(frame)
    outside = [one for one in stack if not _is_of_library(one.filename)]
    at = (outside or list(stack))[-1]
    return f"{at.filename}:{at.lineno} in {at.name}"


def _is_of_library(path: str) -> bool:
    # Without a virtual environment, packages are installed in a folder within the library's.
    return path.startswith(_LIBRARY) and not path.startswith(_INSTALLED)
