"""The frames of all threads."""

from __future__ import annotations

import gc
import sys
import threading
from types import FrameType

import pytest

from forebay_backends.process.thread_frames import current_frames


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
