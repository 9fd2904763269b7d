"""The real terminal: its keys, its size, signals, and its state before and after.

Nothing here blocks: `wait` returns when a key was pressed, a signal came, `wake` was called from
another thread, or the time is over.
"""

from __future__ import annotations

import codecs
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console
from rich.text import Text

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OTHERS = (signal.SIGWINCH, signal.SIGTSTP)
_SHOW = "\x1b[?1049h\x1b[?25l"  # the alternate screen, without a cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_READ_BYTES = 1024
_SEQUENCES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1bOH": "home",
    "\x1bOF": "end",
    "\x1b[1~": "home",
    "\x1b[4~": "end",
}
_SINGLE = {"\t": "tab", "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace"}


def keys_of(text: str) -> list[str]:
    """The keys that a terminal has sent at once: single characters, or names such as "up". Pure.

    Other sequences are ignored.
    """
    keys: list[str] = []
    while text:
        if text[0] != "\x1b":
            keys.append(_SINGLE.get(text[0], text[0]))
            text = text[1:]
            continue
        length = _sequence_length(text)
        name = "esc" if length == 1 else _SEQUENCES.get(text[:length], "")
        if name:
            keys.append(name)
        text = text[length:]
    return [key for key in keys if len(key) > 1 or key.isprintable()]


def _sequence_length(text: str) -> int:
    """How many characters the sequence has that starts with Esc: 1 for Esc itself."""
    if len(text) > 2 and text[1] == "O":
        return 3
    if len(text) > 1 and text[1] == "[":
        for number, character in enumerate(text[2:], start=3):
            if "@" <= character <= "~":
                return number
        return len(text)
    return 1


class Terminal:
    """A context manager: within it, keys arrive without Enter, on the alternate screen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._keyboard = sys.stdin.fileno()
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._signals: list[int] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._waking, self._woken = os.pipe()

    @property
    def ended_by(self) -> int | None:
        """The signal that ends the command; None if there was none."""
        return next((number for number in self._signals if number in _ENDING), None)

    def __enter__(self) -> Self:
        os.set_blocking(self._waking, False)
        os.set_blocking(self._woken, False)
        self._before = termios.tcgetattr(self._keyboard)
        for number in (*_ENDING, *_OTHERS):
            self._handlers[number] = signal.signal(number, self._on_signal)
        self._wakeup_fd = signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        self._show()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()
        signal.set_wakeup_fd(self._wakeup_fd)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._waking)
        os.close(self._woken)

    def wake(self) -> None:
        """Ends `wait`; may be called from any thread."""
        try:
            os.write(self._woken, b"\0")
        except OSError:
            return  # it is awake already, or has ended

    def wait(self, seconds: float) -> list[str]:
        """The keys that were pressed; empty where something else ended the wait."""
        ready, _, _ = select.select([self._keyboard, self._waking], [], [], seconds)
        if self._waking in ready:
            os.read(self._waking, _READ_BYTES)
        if signal.SIGTSTP in self._signals:
            self._suspend()
        if self._keyboard not in ready:
            return []
        data = os.read(self._keyboard, _READ_BYTES)
        if not data:  # the terminal is gone
            self._signals.append(signal.SIGHUP)
        return keys_of(self._decoder.decode(data))

    @property
    def size(self) -> tuple[int, int]:
        """The number of columns and lines."""
        size = os.get_terminal_size(self._keyboard)
        return max(1, size.columns), max(1, size.lines)

    def draw(self, lines: Sequence[Text]) -> None:
        """Shows the lines, which must fit, in one write, so that nothing flickers."""
        with self._console.capture() as drawn:
            self._console.print(Text("\n").join(lines), end="", soft_wrap=True)
        text = drawn.get().replace("\n", f"{_CLEAR_LINE}\r\n")
        self._write(f"{_HOME}{text}{_CLEAR_LINE}{_CLEAR_BELOW}")

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signals.append(number)

    def _suspend(self) -> None:
        """Ctrl-Z: gives the terminal back, stops, and takes it again when it is continued."""
        self._signals.remove(signal.SIGTSTP)
        self._leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._on_signal)
        self._show()

    def _show(self) -> None:
        tty.setcbreak(self._keyboard, termios.TCSANOW)
        self._write(_SHOW)

    def _leave(self) -> None:
        try:
            self._write(_LEAVE)
            termios.tcsetattr(self._keyboard, termios.TCSANOW, self._before)
        except (OSError, termios.error):
            return  # the terminal is gone

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()
