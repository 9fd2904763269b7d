"""When the progress bar appears and disappears."""

from __future__ import annotations

import io

from rich.console import Console

from forebay.cli.progress_bar import ProgressBar

_NEVER_S = 3600.0


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
