"""When the progress bar appears and disappears."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import cast

import pytest
from rich.console import Console

from forebay.cli.progress_bar import ProgressBar

_NEVER_S = 3600.0


class FakeTimer:
    """Calls the function when the test's clock has reached its time."""

    def __init__(self, seconds: float, function: Callable[[], None]) -> None:
        self.due_at: float | None = None
        self._seconds = seconds
        self._function = function

    def start(self) -> None:
        self.due_at = self._seconds

    def cancel(self) -> None:
        self.due_at = None

    def reach(self, now: float) -> None:
        """Moves the clock."""
        if self.due_at is not None and now >= self.due_at:
            self.due_at = None
            self._function()


def console(*, is_terminal: bool = True) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=80)


def written(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_nothing_is_written_for_a_call_that_answers_before_the_delay() -> None:
    on = console()
    bar = ProgressBar(on, "Factorial", _NEVER_S)
    bar.start()
    bar.update(0.5)
    bar.remove()
    assert written(on) == ""


def test_the_bar_of_a_command_appears_after_half_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forebay.cli.progress_bar.threading.Timer", FakeTimer)
    on = console()
    bar = ProgressBar(on, "Factorial")
    timer = cast(FakeTimer, bar._timer)
    bar.start()
    bar.update(0.5)
    timer.reach(0.49)
    assert written(on) == ""
    timer.reach(0.5)
    assert "Factorial" in written(on)
    bar.remove()


def test_a_command_that_has_its_answer_within_half_a_second_has_no_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forebay.cli.progress_bar.threading.Timer", FakeTimer)
    on = console()
    bar = ProgressBar(on, "Factorial")
    bar.start()
    bar.remove()
    cast(FakeTimer, bar._timer).reach(60.0)
    assert written(on) == ""


def test_the_bar_appears_after_the_delay_and_is_erased() -> None:
    on = console()
    bar = ProgressBar(on, "Factorial", 0.0)
    bar.update(0.5)
    bar.start()
    bar._timer.join()
    assert "Factorial" in written(on)
    assert "50%" in written(on)
    bar.remove()
    assert written(on).endswith("\x1b[1A\x1b[2K")
    bar.remove()


def test_there_is_no_bar_where_nobody_looks() -> None:
    on = console(is_terminal=False)
    bar = ProgressBar(on, "Factorial", 0.0)
    bar.start()
    bar.update(0.5)
    bar.remove()
    assert written(on) == ""


def test_a_bar_that_was_removed_does_not_appear() -> None:
    on = console()
    bar = ProgressBar(on, "Factorial", _NEVER_S)
    bar.remove()
    bar._show()
    assert written(on) == ""
