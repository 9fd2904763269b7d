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

    `sys._current_frames` may wait for ever in CPython 3.11 if the garbage collector runs in it and
    another thread ends meanwhile: https://github.com/python/cpython/issues/106883
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if was_enabled:
            gc.enable()


def place_outside_library(frame: FrameType) -> str:
    """The innermost function outside the standard library, in which threads and coroutines wait."""
    stack = traceback.extract_stack(frame)
    outside = [one for one in stack if not _is_of_library(one.filename)]
    at = (outside or list(stack))[-1]
    return f"{at.filename}:{at.lineno} in {at.name}"


def _is_of_library(path: str) -> bool:
    # Without a virtual environment, packages are installed in a folder of the library.
    return path.startswith(_LIBRARY) and not path.startswith(_INSTALLED)
