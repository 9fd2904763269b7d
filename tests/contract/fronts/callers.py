"""Callers of a gateway that attack nothing."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from tests.faults.raw_http2 import RawConnection, message, request_headers

CHECK = "/grpc.health.v1.Health/Check"
_SOON_S = 10.0
"""For a call beside an attack; it takes a few milliseconds on an idle machine."""
_PAUSE_S = 0.005
FRAMES_A_CALL = 2


@dataclass
class OtherCaller:
    """The calls that it has made."""

    calls: int = 0
    slowest_s: float = 0.0


@contextmanager
def other_caller(address: str, path: str = CHECK) -> Iterator[OtherCaller]:
    """Another caller, which is served during the whole block, and once after it."""
    caller, done = OtherCaller(), threading.Event()
    ready, failures = threading.Event(), list[BaseException]()

    def call(channel: grpc.Channel) -> None:
        began = time.monotonic()
        channel.unary_unary(path)(b"", timeout=_SOON_S)
        if ready.is_set():
            caller.slowest_s = max(caller.slowest_s, time.monotonic() - began)
        caller.calls += 1

    def call_all() -> None:
        try:
            with grpc.insecure_channel(address) as channel:
                call(channel)
                ready.set()
                while not done.wait(_PAUSE_S):
                    call(channel)
                call(channel)
        except BaseException as error:
            failures.append(error)
            ready.set()

    thread = threading.Thread(target=call_all)
    thread.start()
    ready.wait()
    try:
        yield caller
    finally:
        done.set()
        thread.join()
    assert not failures, failures


def call_at_once(address: str, count: int) -> None:
    """Makes so many calls on one connection, of two frames each; returns when all were served."""
    with RawConnection.greeted(address) as connection:
        last = 2 * count - 1
        calls = [
            connection.request(request_headers(CHECK.encode()), message(b""), stream)
            for stream in range(1, last + 2, 2)
        ]
        connection.send(b"".join(itertools.chain.from_iterable(calls)))
        assert not connection.reply(last).gone
