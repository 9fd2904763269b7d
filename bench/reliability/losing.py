"""The time from SIGKILL to a worker or a pool child until the call runs again."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterable

import grpc
import psutil

from bench.reliability.systems import EchoSystem, echo_system
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually

_COUNT = 1_000_000
_TIMEOUT_S = 120.0


def lost(workers: int, children: int) -> str:
    """Kills that many pool children, then workers with their children, each during a call."""
    with echo_system() as system, grpc.insecure_channel(system.address) as channel:
        stub = EchoServiceStub(channel)
        worker = system.worker(1)
        child_s = [_until_again(system, stub, worker, whole=False) for _ in range(children)]
        worker_s = []
        for _ in range(workers):
            spare = system.worker(1)
            worker_s.append(_until_again(system, stub, worker, whole=True))
            worker = spare
    return (
        f"from SIGKILL to the next attempt's begin, median (longest): a pool child's "
        f"{_figures(child_s)}, a worker's with all its children {_figures(worker_s)}"
    )


def _until_again(
    system: EchoSystem, stub: EchoServiceStub, worker: Process, *, whole: bool
) -> float:
    call_id = f"lost-{time.monotonic_ns()}"
    responses = stub.Steady(
        EchoRequest(count=_COUNT, seconds=0.05),
        metadata=(("forebay-call-id", call_id),),
        timeout=_TIMEOUT_S,
    )
    reader = threading.Thread(target=_read, args=(responses,))
    reader.start()
    eventually(lambda: system.attempt(call_id) == ("RUNNING", "1"), "it runs")
    children = psutil.Process(worker.popen.pid).children()
    begun = time.monotonic()
    if whole:
        os.kill(worker.popen.pid, signal.SIGKILL)
    for child in children:
        child.kill()
    eventually(lambda: system.attempt(call_id) == ("RUNNING", "2"), "it runs again")
    seconds = time.monotonic() - begun
    responses.cancel()
    reader.join()
    eventually(lambda: system.attempt(call_id)[0] == "CANCELLED", "it is over")
    return seconds


def _read(responses: Iterable[object]) -> None:
    try:
        for _ in responses:
            pass
    except grpc.RpcError:
        pass  # cancelled


def _figures(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s ({max(seconds):.1f} s)"
