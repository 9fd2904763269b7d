"""Reads Python's frames: the functions on a stack, and the callback that an event loop runs.

asyncio calls each callback by `Handle._run`, within `BaseEventLoop._run_once`. Both are private, so
a test checks that stacks still have their frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import CodeType, FrameType

_RUN_ONCE: CodeType = asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]
_RUN_CALLBACK: CodeType = asyncio.Handle._run.__code__


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """The frame, its caller, and so on; ends at the event loop, whose callers never change."""
    while frame is not None:
        yield frame
        if frame.f_code is _RUN_ONCE:
            return
        frame = frame.f_back


def callback_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of `Handle._run` on the stack; each run of a callback has its own."""
    return next((one for one in outwards(frame) if one.f_code is _RUN_CALLBACK), None)


def described(running: FrameType, innermost: FrameType) -> str:
    """The callback that `running` runs, and the line of code that it has reached."""
    inside = []
    for frame in outwards(innermost):
        if frame is running:
            break
        inside.append(frame)
    if not inside:  # the callback is written in C
        callback = getattr(running.f_locals.get("self"), "_callback", None)
        return getattr(callback, "__qualname__", None) or type(callback).__name__
    outermost, reached = inside[-1], inside[0]
    name = function_name(outermost)
    if reached is outermost:
        return f"{name}, at line {reached.f_lineno}"
    return f"{name}, in {function_name(reached)} at line {reached.f_lineno}"


def function_name(frame: FrameType) -> str:
    """For example: `forebay_gateway.durable.calls.DurableCalls.serve`."""
    return f"{module_of(frame)}.{frame.f_code.co_qualname}"


def module_of(frame: FrameType) -> str:
    """The name of the module that the frame's function is in."""
    return str(frame.f_globals.get("__name__", "?"))
