"""Counts the files that run for one call, and the calls from one package into another.

`python -m bench.walks [-v]` runs gateway, worker and client in one process; a profile hook
records which of our functions call which. Only what every one of several calls does is counted, so
periodic work is left out, and so is generated code.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_gateway.testing import serving
from forebay_workers.compute.add import add
from forebay_workers.compute.factorial import factorial
from forebay_workers.compute.mat_mul import mat_mul

ROUNDS = 8
_PACKAGES = ("forebay", "forebay_backends", "forebay_gateway", "forebay_workers")


@dataclass
class Walk:
    """Files by their path below the package; calls between packages as (caller, callee)."""

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

    def common(self, call: Callable[[], object]) -> Walk:
        """The part of the walk that all of several calls have in common."""
        walks = []
        for _ in range(ROUNDS):
            walk = self._walk = Walk()
            call()
            self._walk = None
            walks.append(walk)
        files = set.intersection(*(walk.files for walk in walks))
        return Walk(files, set.intersection(*(walk.crossings for walk in walks)))

    def _hook(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and self._walk is not None:
            self._walk.add_call(frame)


def _caller_of(frame: FrameType) -> str | None:
    """The next function of ours up the stack."""
    above = frame.f_back
    while above is not None:
        name = _name_of(above)
        if name is not None:
            return name
        above = above.f_back
    return None


def _name_of(frame: FrameType) -> str | None:
    """`forebay_gateway/rpc/incoming.py:receive`; None for code that is not ours."""
    path = Path(frame.f_code.co_filename)
    if "_pb2" in path.name or "site-packages" in path.parts:
        return None
    for package in _PACKAGES:
        if package in path.parts:
            start = len(path.parts) - 1 - path.parts[::-1].index(package)
            return "/".join(path.parts[start:]) + ":" + frame.f_code.co_qualname
    return None


def _package_of(name: str) -> str:
    return name.partition("/")[0]


def main() -> None:
    """Prints both walks; with -v, file by file and call by call."""
    tracer = Tracer()
    service = pb.DESCRIPTOR.services_by_name["ComputeService"]
    handlers = {"Add": add, "Factorial": factorial, "MatMul": mat_mul}
    with serving({service: handlers}, concurrency=1) as served:
        stub = ComputeServiceStub(served.channel)
        calls: dict[str, Callable[[], object]] = {
            "ephemeral Add": lambda: stub.Add(pb.AddRequest(x=1, y=2)),
            "durable Factorial": lambda: list(stub.Factorial(pb.FactorialRequest(n=500))),
        }
        for name, call in calls.items():
            call()
            walk = tracer.common(call)
            files, crossings = len(walk.files), len(walk.crossings)
            print(f"{name}: {files} files, {crossings} calls between packages")
            if "-v" in sys.argv:
                print(*sorted(walk.files), sep="\n")
                print(
                    *(f"{caller} -> {callee}" for caller, callee in sorted(walk.crossings)),
                    sep="\n",
                )
    sys.setprofile(None)


if __name__ == "__main__":
    main()
