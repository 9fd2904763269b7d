"""A load process: `python -m bench.load grpc ADDRESS CALLERS SECONDS ephemeral|durable`,
or `… celery THREADS SECONDS`. It prints the calls answered per second.

Each caller calls again as soon as it is answered. The first second is not counted.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
import time
import uuid

import grpc

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

WARM_UP_S = 1.0
_TIMEOUT_S = 30.0


class _Window:
    """The time in which answers count."""

    def __init__(self, seconds: float) -> None:
        self._begin = time.monotonic() + WARM_UP_S
        self._end = self._begin + seconds
        self._seconds = seconds
        self.answered = 0

    @property
    def open(self) -> bool:
        """Whether to call again."""
        return time.monotonic() < self._end

    def answer(self) -> None:
        """Counts an answer, if it is in time."""
        if self._begin <= time.monotonic() < self._end:
            self.answered += 1

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered / self._seconds


async def _grpc_load(address: str, callers: int, seconds: float, durable: bool) -> float:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = ComputeServiceStub(channel)
        window = _Window(seconds)

        async def call() -> None:
            while window.open:
                metadata = (("forebay-call-id", str(uuid.uuid4())),) if durable else ()
                answer = await stub.Add(
                    pb.AddRequest(x=4, y=6), timeout=_TIMEOUT_S, metadata=metadata
                )
                assert answer.sum in (10, 4)  # 4 is the echo's
                window.answer()

        await asyncio.gather(*(call() for _ in range(callers)))
    return window.rate


def _celery_load(threads: int, seconds: float) -> float:
    add = importlib.import_module("add_module").add_two_numbers
    window = _Window(seconds)
    lock = threading.Lock()
    failures: list[BaseException] = []

    def call() -> None:
        try:
            while window.open:
                assert add.apply_async((4, 6)).get(timeout=_TIMEOUT_S) == 10
                with lock:
                    window.answer()
        except BaseException as error:
            failures.append(error)
            raise

    callers = [threading.Thread(target=call) for _ in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    if failures:
        raise failures[0]
    return window.rate


def main(arguments: list[str]) -> None:
    """Runs the load; see the module's own words."""
    match arguments:
        case ["grpc", address, callers, seconds, kind]:
            rate = asyncio.run(_grpc_load(address, int(callers), float(seconds), kind == "durable"))
        case ["celery", threads, seconds]:
            rate = _celery_load(int(threads), float(seconds))
        case _:
            raise SystemExit(__doc__)
    print(f"calls/s {rate:.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
