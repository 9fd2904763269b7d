"""Calls that are made while their workers are lost, and ways to lose them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import psutil

from tests.harness import Process

TIMEOUT_S = 60.0


@contextmanager
def calling(call: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    """The call is made in a thread; its result, or error, is to be had from what is yielded."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(call())
        except grpc.RpcError as error:
            results.append(error)

    def result() -> Any:
        thread.join(TIMEOUT_S)
        assert results, "the call did not end"
        if isinstance(results[0], grpc.RpcError):
            raise results[0]
        return results[0]

    thread = threading.Thread(target=run)
    thread.start()
    yield result
    thread.join(TIMEOUT_S)


def pool_children(worker: Process) -> list[psutil.Process]:
    return psutil.Process(worker.popen.pid).children()


def kill_worker(worker: Process, number: int = signal.SIGKILL) -> None:
    """The signal to the main process and, where it is fatal, to its pool at once."""
    children = pool_children(worker)
    os.kill(worker.popen.pid, number)
    for child in children:
        child.send_signal(number)
