"""Cancelled calls: whether handlers still run afterwards, and how soon they stop."""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import time

import grpc

from bench.reliability.systems import GRACE_S, EchoSystem, echo_system
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually

_CALLERS = 8
_SLOTS = 4
_INSISTING = 0.002
_ENDLESS_S = 600.0
_RECEIVED = re.compile(r"Task echo\.\S+ received")
_OVER = re.compile(r"Task echo\.\S+ (succeeded|raised)|Task handler raised error: WorkerLostError")


def many(count: int) -> str:
    """Cancels `count` calls, each at a random time; reports how their handlers ended.

    Fails if a handler still runs or a call's record has not ended.
    """
    with echo_system() as system:
        worker = system.worker(_SLOTS)
        seconds = asyncio.run(_cancel(system.address, count))
        eventually(lambda: _running(worker) == 0, "all handlers have ended", 5 * GRACE_S + 10)
        received, killed = _count(worker, _RECEIVED), worker.output.count("WorkerLostError(")
        unfinished = [key for key in _records(system) if not _is_over(system, key)]
        assert not unfinished, unfinished
        with grpc.insecure_channel(system.address) as channel:
            answers = [
                EchoServiceStub(channel).Unary.future(EchoRequest(text="x"), timeout=30)
                for _ in range(_SLOTS)
            ]
            assert all(answer.result().text == "x" for answer in answers)
    return (
        f"{count} calls cancelled in {seconds:.0f} s: {received} had reached the worker, "
        f"{killed} of them had to be ended by killing a child, 0 left running"
    )


def soon(rounds: int) -> str:
    """The time from a cancellation until the slot is free.

    Some handlers check whether the call is cancelled, others never do. For comparison, it also
    measures a slot that is free from the start.
    """
    with echo_system() as system:
        system.worker(1)
        with grpc.insecure_channel(system.address) as channel:
            stub = EchoServiceStub(channel)
            free = [_until_free(system, stub, "") for _ in range(rounds)]
            heeding = [_until_free(system, stub, "sleep") for _ in range(rounds)]
            insisting = [_until_free(system, stub, "insist") for _ in range(max(3, rounds // 4))]
    return (
        f"until the slot took the next call, median: handler that checks is_active() every "
        f"10 ms {_ms(heeding)}, handler that never does {_ms(insisting)} (grace {GRACE_S:g} s); "
        f"with nothing to cancel {_ms(free)}"
    )


async def _cancel(address: str, count: int) -> float:
    seeded = random.Random(1)  # noqa: S311 - when to cancel
    begun = time.monotonic()
    left = iter(range(count))
    async with grpc.aio.insecure_channel(address) as channel:
        stub = EchoServiceStub(channel)

        async def caller() -> None:
            for _ in left:
                act = "insist" if seeded.random() < _INSISTING else "sleep"
                request = EchoRequest(act=act, seconds=_ENDLESS_S, count=1)
                method = seeded.choice((stub.Unary, stub.ServerStream, stub.Quick))
                call = method(request)
                await asyncio.sleep(seeded.random() * 0.2)
                call.cancel()

        await asyncio.gather(*(caller() for _ in range(_CALLERS)))
    return time.monotonic() - begun


def _until_free(system: EchoSystem, stub: EchoServiceStub, act: str) -> float:
    """The time from the cancellation of a running call to the next call's response.

    `act` is what the running call does; if it is empty, no call runs.
    """
    call = None
    if act:
        call_id = f"cancelled-{time.monotonic_ns()}"
        call = stub.ServerStream(
            EchoRequest(act=act, seconds=_ENDLESS_S, count=1),
            metadata=(("forebay-call-id", call_id),),
        )
        eventually(lambda: system.attempt(call_id)[0] == "RUNNING", "it runs")
    begun = time.monotonic()
    if call is not None:
        call.cancel()
    assert stub.Unary(EchoRequest(text="x"), timeout=60).text == "x"
    return time.monotonic() - begun


def _running(worker: Process) -> int:
    return _count(worker, _RECEIVED) - _count(worker, _OVER)


def _count(worker: Process, pattern: re.Pattern[str]) -> int:
    return len(pattern.findall(worker.output))


def _records(system: EchoSystem) -> list[bytes]:
    return list(system.ledger.scan_iter("*:call:*", count=1000))


def _is_over(system: EchoSystem, key: bytes) -> bool:
    return system.ledger.hget(key, "state") in (b"CANCELLED", b"SUCCEEDED", b"FAILED", b"EXPIRED")


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"
