"""Samples where the process spends its CPU time.

The kernel sends SIGPROF each time that the process has used some more CPU time. Python then runs
the handler in the main thread, which runs the event loop, before its next bytecode. So an idle
gateway is not sampled at all. Alternatives that were turned down:

- A thread that looks at `sys._current_frames`: it gets the GIL mostly when the loop gives it up for
  a system call, so it hardly sees anything else.
- `sys.setprofile` and cProfile, which see each call of a function: several times slower.
- py-spy, from outside: needs the permission to trace processes, which a container lacks by default,
  and a shell beside the gateway.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from forebay.errors import Draining, MethodUnknown, QueueFull
from forebay.v1 import calls_pb2 as pb
from forebay_gateway.profiling.stacks import Stacks

SAMPLE_INTERVAL_S = 0.005
MAX_DURATION_S = 300.0
_RETRY_AFTER_S = 1.0


class Profiler:
    """Takes the profiles of this process, one at a time."""

    def __init__(self) -> None:
        self._until: float | None = None
        self._draining = asyncio.Event()

    async def profile(self, duration_s: float) -> pb.ReadProfileResponse:
        """Samples for `duration_s`; raises QueueFull, MethodUnknown or Draining."""
        if threading.current_thread() is not threading.main_thread():
            raise MethodUnknown("only a gateway in the main thread of its process can be profiled")
        now = time.monotonic()
        if self._until is not None:
            raise QueueFull(
                "another profile of this gateway process is being taken",
                retry_after_s=max(_RETRY_AFTER_S, self._until - now),
                quota="profiles",
            )
        self._until = now + duration_s
        stacks, cpu_s = Stacks(), time.process_time()
        try:
            with _sampled(stacks):
                await self._sleep(duration_s)
        finally:
            self._until = None
        return _response(stacks, time.monotonic() - now, time.process_time() - cpu_s)

    def abort(self) -> None:
        """Ends the profile that is being taken, and later ones: the gateway is shutting down."""
        self._draining.set()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return
        raise Draining("the gateway is shutting down", retry_after_s=_RETRY_AFTER_S)


@contextmanager
def _sampled(stacks: Stacks) -> Iterator[None]:
    previous = signal.signal(signal.SIGPROF, lambda _, frame: stacks.add(frame))
    signal.siginterrupt(signal.SIGPROF, False)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_INTERVAL_S, SAMPLE_INTERVAL_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        # SIGPROF ends the process by default, and a signal may still be pending.
        ours = callable(previous)
        signal.signal(signal.SIGPROF, previous if ours else signal.SIG_IGN)


def _response(stacks: Stacks, duration_s: float, cpu_s: float) -> pb.ReadProfileResponse:
    profile = pb.ReadProfileResponse(pid=os.getpid(), python_version=platform.python_version())
    profile.duration.FromMilliseconds(round(duration_s * 1000))
    profile.cpu_time.FromMilliseconds(round(cpu_s * 1000))
    profile.sample_interval.FromMilliseconds(round(SAMPLE_INTERVAL_S * 1000))
    stacks.write_to(profile)
    return profile
