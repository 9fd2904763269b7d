"""Profiles of a process: its stacks, their bounds, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import FrameType

import pytest

from forebay.errors import Draining, MethodUnknown, QueueFull
from forebay.v1 import calls_pb2 as pb
from forebay_gateway.profiling.profiler import Profiler
from forebay_gateway.profiling.stacks import MAX_DEPTH, MAX_STACKS, Stacks


async def compute(profile: asyncio.Task[pb.ReadProfileResponse]) -> None:
    while not profile.done():
        a_busy_function()
        await asyncio.sleep(0)


def a_busy_function() -> int:
    return sum(range(100_000))


async def test_a_profile_shows_the_functions_that_compute_from_the_loop_on() -> None:
    profile = asyncio.create_task(Profiler().profile(1.0))
    await asyncio.create_task(compute(profile))
    answer = profile.result()
    busiest = [answer.functions[number].name for number in answer.stacks[0].functions]
    assert busiest == ["BaseEventLoop._run_once", "Handle._run", "compute", "a_busy_function"]
    assert answer.pid == os.getpid()
    assert answer.cpu_time.ToMilliseconds() > 0
    assert answer.duration.ToMilliseconds() >= 1000


async def test_a_late_signal_does_not_end_the_process() -> None:
    await Profiler().profile(0.01)
    assert signal.getsignal(signal.SIGPROF) is signal.SIG_IGN
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    os.kill(os.getpid(), signal.SIGPROF)


async def test_one_profile_is_taken_at_a_time() -> None:
    profiler = Profiler()
    first = asyncio.create_task(profiler.profile(60.0))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull) as refused:
        await profiler.profile(1.0)
    assert (refused.value.retry_after_s or 0) > 50
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await profiler.profile(0.01)


async def test_a_profile_ends_when_the_gateway_shuts_down() -> None:
    profiler = Profiler()
    profile = asyncio.create_task(profiler.profile(60.0))
    await asyncio.sleep(0)
    profiler.abort()
    with pytest.raises(Draining):
        await profile


async def test_only_a_main_thread_can_be_profiled() -> None:
    with pytest.raises(MethodUnknown):
        await asyncio.to_thread(asyncio.run, Profiler().profile(0.01))


def written(stacks: Stacks) -> pb.ReadProfileResponse:
    profile = pb.ReadProfileResponse()
    stacks.write_to(profile)
    return profile


def test_stacks_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay_gateway.profiling.stacks.MAX_STACKS", 50)
    stacks = Stacks()
    for number in range(50 + 10):
        namespace: dict[str, FrameType] = {"sys": sys}  # type: ignore[dict-item]
        exec(f"def f{number}(): return sys._getframe()\nframe = f{number}()", namespace)  # noqa: S102
        stacks.add(namespace["frame"])
    profile = written(stacks)
    assert len(profile.stacks) == 50 + 1
    assert (list(profile.stacks[0].functions), profile.stacks[0].samples) == ([], 10)


def test_the_largest_profile_is_under_the_limit_of_grpc_clients() -> None:
    profile = pb.ReadProfileResponse()
    for _ in range(MAX_STACKS):
        profile.functions.add(name="f" * 80, module="m" * 40, line=1000)
        profile.stacks.add(functions=[MAX_STACKS - 1] * MAX_DEPTH, samples=1000)
    assert profile.ByteSize() < 4 << 20


def test_stacks_are_bounded_in_depth() -> None:
    def deep(depth: int) -> FrameType:
        return sys._getframe() if depth == 0 else deep(depth - 1)

    stacks = Stacks()
    stacks.add(deep(2 * MAX_DEPTH))
    [stack] = written(stacks).stacks
    assert len(stack.functions) == MAX_DEPTH
