"""Calls that are made while their workers are killed, and ways to kill them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import psutil

from tests.harness import Process

TIMEOUT_S = 60.0


@contextmanager
def calling(call: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    """Makes the call in a thread; yields a function that waits for its result or error."""
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
    """Sends the signal to the main process and, if it is fatal, to the pool at the same time."""
    children = pool_children(worker)
    os.kill(worker.popen.pid, number)
    for child in children:
        with suppress(psutil.NoSuchProcess):  # it ends by itself when its parent has
            child.send_signal(number)
