"""The progress bar of `forebay call`, for calls that do not answer at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

DELAY_S = 0.5


class ProgressBar:
    """A bar that appears `delay_s` after `start`, unless `remove` is called earlier.

    Nothing appears if the console is not a terminal. `start` may be called only once; `update` and
    `remove` may be called at any time, more than once, and from any thread.
    """

    def __init__(self, console: Console, name: str, delay_s: float = DELAY_S) -> None:
        self._console = console
        self._name = name
        self._fraction: float | None = None
        self._bar: Progress | None = None
        self._removed = not console.is_terminal
        self._lock = threading.Lock()
        self._timer = threading.Timer(delay_s, self._show)
        self._timer.daemon = True

    def start(self) -> None:
        if not self._removed:
            self._timer.start()

    def update(self, fraction: float) -> None:
        """Shows the progress, from 0 to 1."""
        with self._lock:
            self._fraction = fraction
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], total=1.0, completed=fraction)

    def remove(self) -> None:
        """Removes the bar from the terminal for good."""
        self._timer.cancel()
        with self._lock:
            self._removed = True
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.stop()

    def _show(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._removed:
                return
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            task = self._bar.add_task(self._name, total=None)
            if self._fraction is not None:
                self._bar.update(task, total=1.0, completed=self._fraction)
            self._bar.start()
