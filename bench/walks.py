"""Counts the files that run for one call, and the calls from one package into another.

`python -m bench.walks [-v]` takes a minute. It runs gateway, worker and client in one process; a
profile hook records which of our functions call which. Each call is made several times, and only
what happens every time is counted, so periodic work is left out. Three more things are left out:
generated code; the folders `testing`, whose code runs only because everything is in one process;
and the thread that looks for slow callbacks.

For a lost worker, the record begins with the sweep of the ledger that finds the expired lease, and
ends when the caller has an item of the second attempt.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import grpc

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.routes import read_methods
from forebay_backends.embedded.server import EmbeddedServer
from forebay_backends.reaper import Reaper
from forebay_backends.settings import given_settings
from forebay_gateway.testing import serving
from forebay_gateway.testing.gateway_thread import gateway_in_thread
from forebay_workers.compute.add import add
from forebay_workers.compute.factorial import factorial
from forebay_workers.compute.mat_mul import mat_mul
from forebay_workers.testing.in_process import running_worker

SERVICE = pb.DESCRIPTOR.services_by_name["ComputeService"]
HANDLERS = {"Add": add, "Factorial": factorial, "MatMul": mat_mul}
ROUNDS, ROUNDS_OF_LOST_WORKER = 25, 3
_PACKAGES = ("forebay", "forebay_backends", "forebay_gateway", "forebay_workers")
_NOT_COUNTED = {"site-packages", "testing", "profiling"}


@dataclass
class Walk:
    """The files that ran, as paths from the package on; calls between packages (caller, callee)."""

    files: set[str] = field(default_factory=set)
    crossings: set[tuple[str, str]] = field(default_factory=set)

    def add_call(self, frame: FrameType) -> None:
        callee = _name_of(frame)
        if callee is None:
            return
        self.files.add(callee.partition(":")[0])
        caller = _caller_of(frame)
        if caller is not None and _package_of(caller) != _package_of(callee):
            self.crossings.add((caller, callee))


class Tracer:
    """Records calls of all threads between `start` and `stop`."""

    def __init__(self) -> None:
        self._walk: Walk | None = None
        threading.setprofile(self._hook)
        sys.setprofile(self._hook)

    def start(self) -> None:
        """Begins a new walk; a walk that is being recorded is dropped."""
        self._walk = Walk()

    def stop(self) -> Walk:
        """Ends the recording and returns the walk since the last `start`."""
        walk, self._walk = self._walk, None
        assert walk is not None
        return walk

    def _hook(self, frame: FrameType, event: str, _: object) -> None:
        walk = self._walk
        if event == "call" and walk is not None:
            walk.add_call(frame)


def _caller_of(frame: FrameType) -> str | None:
    """The nearest counted function up the stack: foreign functions in between are skipped."""
    above = frame.f_back
    while above is not None:
        name = _name_of(above)
        if name is not None:
            return name
        above = above.f_back
    return None


def _name_of(frame: FrameType) -> str | None:
    """File and function, as `forebay_gateway/rpc/incoming.py:receive`; None if not counted."""
    path = Path(frame.f_code.co_filename)
    if "_pb2" in path.name or not _NOT_COUNTED.isdisjoint(path.parts):
        return None
    starts = [index for index, part in enumerate(path.parts) if part in _PACKAGES]
    # The last one, since the checkout's folder may be named like a package.
    return "/".join(path.parts[starts[-1] :]) + ":" + frame.f_code.co_qualname if starts else None


def _package_of(name: str) -> str:
    return name.partition("/")[0]


def common(walks: list[Walk]) -> Walk:
    """The files and calls that all of the walks have."""
    files = set.intersection(*(walk.files for walk in walks))
    return Walk(files, set.intersection(*(walk.crossings for walk in walks)))


def walks_of_calls(tracer: Tracer) -> Iterator[tuple[str, Walk]]:
    """The walks of an Add and of a Factorial, from request to last response."""
    with serving({SERVICE: HANDLERS}, concurrency=1) as served:
        stub = ComputeServiceStub(served.channel)
        calls: dict[str, Callable[[], object]] = {
            "ephemeral Add": lambda: stub.Add(pb.AddRequest(x=1, y=2)),
            "durable Factorial": lambda: list(stub.Factorial(pb.FactorialRequest(n=500))),
        }
        for name, call in calls.items():
            call()
            walks = []
            for _ in range(ROUNDS):
                tracer.start()
                call()
                walks.append(tracer.stop())
            yield name, common(walks)


def walk_of_lost_worker(tracer: Tracer) -> Walk:
    """The walk of a Factorial whose worker is killed, until an item comes from another worker."""
    methods = [one for one in read_methods([SERVICE]) if one.route.queue == "factorial"]
    folder = Path(tempfile.mkdtemp(prefix="forebay-"))
    with EmbeddedServer(folder, remove=True) as server:
        settings = given_settings(ledger_url=server.url, listen="127.0.0.1:0")
        with (
            gateway_in_thread(settings, methods) as address,
            grpc.insecure_channel(address) as channel,
        ):
            stub = ComputeServiceStub(channel)
            return common(
                [_second_attempt(tracer, stub, server.url) for _ in range(ROUNDS_OF_LOST_WORKER)]
            )


def _second_attempt(tracer: Tracer, stub: ComputeServiceStub, url: str) -> Walk:
    sweep = Reaper._sweep
    lapses: list[object] = []

    async def traced_sweep(self: Reaper, *arguments: Any) -> Any:
        if not lapses:
            tracer.start()
        swept = await sweep(self, *arguments)
        lapses.extend(lapse for partition in swept for lapse in partition.lapses)
        return swept

    doomed = multiprocessing.get_context("spawn").Process(target=run_stuck_worker, args=[url])
    doomed.start()
    responses = stub.Factorial(pb.FactorialRequest(n=500))
    next(responses)
    doomed.kill()
    doomed.join()
    with _worker(url, factorial), patch.object(Reaper, "_sweep", traced_sweep):
        next(responses)
        walk = tracer.stop()
        list(responses)
    return walk


def run_stuck_worker(url: str) -> None:
    """Runs a worker whose calls never end, until it is killed."""

    def stuck(request: pb.FactorialRequest, context: Any) -> Iterator[pb.FactorialResponse]:
        yield pb.FactorialResponse(progress=pb.Progress(fraction=0.5))
        threading.Event().wait()

    with _worker(url, stuck):
        threading.Event().wait()


@contextmanager
def _worker(url: str, handler: Callable[..., object]) -> Iterator[None]:
    settings = given_settings(ledger_url=url)
    with running_worker({SERVICE: {**HANDLERS, "Factorial": handler}}, ["factorial"], settings, 1):
        yield


def main() -> None:
    """Prints the walks; with -v, file by file and call by call."""
    tracer = Tracer()
    for name, walk in walks_of_calls(tracer):
        show(name, walk)
    show("lost worker", walk_of_lost_worker(tracer))
    sys.setprofile(None)


def show(name: str, walk: Walk) -> None:
    print(f"{name}: {len(walk.files)} files, {len(walk.crossings)} calls between packages")
    if "-v" in sys.argv:
        print(*sorted(walk.files), sep="\n")
        print(*(f"{caller} -> {callee}" for caller, callee in sorted(walk.crossings)), sep="\n")


if __name__ == "__main__":
    main()
