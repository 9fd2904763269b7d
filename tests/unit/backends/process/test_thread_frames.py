"""The frames of all threads."""

from __future__ import annotations

import gc
import re
import sys
import sysconfig
import threading
from types import FrameType

import pytest

from forebay_backends.process import thread_frames
from forebay_backends.process.thread_frames import current_frames, place_outside_library


@pytest.mark.parametrize("is_enabled", [True, False])
def test_no_garbage_is_collected_meanwhile(
    monkeypatch: pytest.MonkeyPatch, *, is_enabled: bool
) -> None:
    frames, seen = sys._current_frames, []

    def observed() -> dict[int, FrameType]:
        seen.append(gc.isenabled())
        return frames()

    monkeypatch.setattr(sys, "_current_frames", observed)
    if not is_enabled:
        gc.disable()
    try:
        assert threading.get_ident() in current_frames()
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()
    assert seen == [False]


def waits(reached: threading.Event, end: threading.Event) -> None:
    reached.set()
    end.wait()


def test_a_waiting_thread_is_described_by_the_function_outside_the_standard_library() -> None:
    reached, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=waits, args=(reached, end))
    thread.start()
    try:
        reached.wait()
        assert thread.ident is not None
        frame = current_frames()[thread.ident]
        assert re.fullmatch(rf"{re.escape(__file__)}:\d+ in waits", place_outside_library(frame))
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize(
    ("folder", "is_of_library"), [("stdlib", True), ("purelib", False), ("platlib", False)]
)
def test_installed_packages_are_no_part_of_the_standard_library(
    folder: str, *, is_of_library: bool
) -> None:
    path = f"{sysconfig.get_path(folder)}/package/module.py"
    assert thread_frames._is_of_library(path) is is_of_library
