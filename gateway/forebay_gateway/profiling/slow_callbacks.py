"""Finds callbacks that block the event loop, and so all other calls, for over 100 ms.

asyncio's debug mode measures each callback, which makes the gateway slower. Here, a thread looks
every 25 ms which callback the loop runs, so callbacks get no slower. While the loop runs none, the
thread looks every 100 ms, to use little CPU in an idle gateway; it then finds a slow callback after
at most 225 ms.

Only time in which the callback computes or is blocked (for example in `time.sleep`) counts. Time in
which the loop's thread waits for a CPU does not: that is the machine's fault, not the callback's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from types import FrameType

from forebay_backends.process.thread_frames import current_frames
from forebay_gateway.profiling.frames import callback_frame, described

SLOW_S = 0.1
_LOOK_INTERVAL_S = 0.025
_IDLE_LOOK_INTERVAL_S = 0.1
_LOG_INTERVAL_S = 60.0

_log = logging.getLogger(__name__)


class RunTime:
    """For how long the loop has run the same callback. Pure."""

    def __init__(self) -> None:
        self._run: object | None = None
        self._ran_s = 0.0

    def observe(
        self,
        run: object | None,
        elapsed_s: float,
        computed_s: float,
        *,
        is_blocked: bool,
        is_late: bool = False,
    ) -> bool:
        """Returns whether the run has just become slow: True at most once a run.

        `run` is the run of a callback, None if there is none. `elapsed_s` is the time since the
        last look, and `computed_s` the CPU time that the loop has used since. `is_blocked` says
        that the loop's thread neither computes nor waits for a CPU, and `is_late` that this look
        came later than planned.
        """
        if run is None:
            self._run = None
            return False
        counts_s = elapsed_s if is_blocked else min(elapsed_s, computed_s)
        if run is not self._run:
            self._run, self._ran_s = run, 0.0
            # A look is late if C code held the GIL. The time belongs to this run: Python switches
            # threads as soon as the C code returns.
            counts_s = min(elapsed_s, computed_s) if is_late else 0.0
        was_slow = self._ran_s >= SLOW_S
        self._ran_s += counts_s
        return not was_slow and self._ran_s >= SLOW_S


class SlowCallbacks:
    """Counts the slow callbacks of the event loop, and logs one a minute by name."""

    def __init__(self, on_slow: Callable[[], None] = lambda: None) -> None:
        self._on_slow = on_slow
        self._logged_at: float | None = None
        self._not_logged = 0

    async def watch(self) -> None:
        """Watches the running loop until cancelled."""
        stopping = threading.Event()
        arguments = (_Thread(), stopping)
        threading.Thread(
            target=self._look, args=arguments, name="forebay-slow-callbacks", daemon=True
        ).start()
        try:
            await asyncio.Event().wait()
        finally:
            stopping.set()

    def _look(self, loop: _Thread, stopping: threading.Event) -> None:
        run_time = RunTime()
        looked_at, computed_then = time.monotonic(), loop.computed_s()
        interval_s = _LOOK_INTERVAL_S
        while not stopping.wait(interval_s):
            innermost = current_frames().get(loop.id)
            running = callback_frame(innermost)
            now, computed_now = time.monotonic(), loop.computed_s()
            times = (now - looked_at, computed_now - computed_then)
            is_blocked = running is not None and loop.is_blocked()
            is_late = now - looked_at > interval_s + _LOOK_INTERVAL_S
            if run_time.observe(running, *times, is_blocked=is_blocked, is_late=is_late):
                self._log_found(running, innermost, now)
                self._on_slow()
            interval_s = _LOOK_INTERVAL_S if running is not None else _IDLE_LOOK_INTERVAL_S
            looked_at, computed_then = now, computed_now
            del innermost  # or it would keep the callback's objects alive

    def _log_found(
        self, running: FrameType | None, innermost: FrameType | None, now: float
    ) -> None:
        if self._logged_at is not None and now - self._logged_at < _LOG_INTERVAL_S:
            self._not_logged += 1
            return
        if running is None or innermost is None:
            return
        more = f"; {self._not_logged} more since the last such line" if self._not_logged else ""
        _log.warning(
            "the event loop has run one callback for over %d ms, and no other call meanwhile: %s%s",
            *(SLOW_S * 1000, described(running, innermost), more),
        )
        self._logged_at, self._not_logged = now, 0


class _Thread:
    """The thread that creates this object; other threads measure it."""

    def __init__(self) -> None:
        self.id = threading.get_ident()
        self._stat = f"/proc/self/task/{threading.get_native_id()}/stat"
        # macOS has no such clock.
        has_clock = hasattr(time, "pthread_getcpuclockid")
        self._clock = time.pthread_getcpuclockid(self.id) if has_clock else None

    def computed_s(self) -> float:
        """The CPU time that the thread has used; 0 if unknown."""
        return 0.0 if self._clock is None else time.clock_gettime(self._clock)

    def is_blocked(self) -> bool:
        """Whether the thread neither computes nor waits for a CPU; True if unknown."""
        try:
            with open(self._stat, "rb") as stat:
                return stat.read().rpartition(b")")[2].split()[0] != b"R"
        except OSError:
            return True
