"""Calls of every kind, made one after the other while something is done to the backends."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

import grpc

from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.faults.echoes import TIMEOUT_S, indexes, named
from tests.harness import eventually

_MOVING = "the ledger is moving its keys"
_LARGE = 200_000
"""Bytes that don't go through the small messages' way to the ledger."""


def durable(stub: EchoServiceStub) -> None:
    text = uuid.uuid4().hex
    response = stub.Unary(EchoRequest(text=text), timeout=TIMEOUT_S, metadata=_id())
    assert response.text == text


def ephemeral(stub: EchoServiceStub) -> None:
    text = uuid.uuid4().hex
    assert stub.Quick(EchoRequest(text=text), timeout=TIMEOUT_S).text == text


def large(stub: EchoServiceStub) -> None:
    text = uuid.uuid4().hex
    request = EchoRequest(text=text, ballast=bytes(_LARGE), padding=_LARGE)
    response = stub.Unary(request, timeout=TIMEOUT_S)
    assert (response.text, len(response.padding)) == (text, _LARGE)


def stream(stub: EchoServiceStub) -> None:
    request = EchoRequest(text="s", seconds=0.02, sizes=(1, _LARGE, 1, _LARGE, 1))
    responses = list(stub.ServerStream(request, timeout=TIMEOUT_S, metadata=_id()))
    assert indexes(responses) == list(range(5))


def upload(stub: EchoServiceStub) -> None:
    requests = [EchoRequest(text=f"{n}", ballast=bytes(_LARGE * (n % 2))) for n in range(5)]
    assert stub.ClientStream(iter(requests), timeout=TIMEOUT_S).text == "01234"


def live(stub: EchoServiceStub) -> None:
    said: SimpleQueue[EchoRequest | None] = SimpleQueue()
    call = stub.Talk(iter(said.get, None), timeout=TIMEOUT_S)
    try:
        for text in "abc":
            said.put(EchoRequest(text=text))
            assert next(call).text == text
    finally:
        said.put(None)
    assert list(call) == []


Kind = Callable[[EchoServiceStub], None]

DURABLE: tuple[Kind, ...] = (durable, large, stream, upload, live)
KINDS = (*DURABLE, ephemeral)


def _id() -> Any:
    return named(f"kind-{uuid.uuid4()}")


class Caller:
    """Makes calls of one kind in a thread."""

    def __init__(self, kind: Kind, stub: EchoServiceStub) -> None:
        self.kind = kind
        self.errors: list[str] = []
        self.took_s: list[float] = []
        self._stub = stub
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.kind(self._stub)
            except grpc.RpcError as error:
                if _MOVING in (error.details() or ""):
                    continue  # on a slow machine a move takes longer than a call waits
                self.errors.append(f"{self.kind.__name__}: {error.code()}: {error.details()}")
                self._stop.wait(0.1)
            except AssertionError as error:
                self.errors.append(f"{self.kind.__name__}: {error}")
            else:
                self.took_s.append(time.monotonic() - began)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


class Calls:
    """One caller of each kind."""

    def __init__(self, stub: EchoServiceStub, kinds: Sequence[Kind]) -> None:
        self._callers = [Caller(kind, stub) for kind in kinds]

    @property
    def errors(self) -> list[str]:
        return [error for caller in self._callers for error in caller.errors]

    @property
    def longest_s(self) -> float:
        """How long the slowest call took."""
        return max(took_s for caller in self._callers for took_s in caller.took_s)

    def wait_for(self, count: int) -> None:
        """Returns when so many more calls of each kind have succeeded."""
        wanted = [len(caller.took_s) + count for caller in self._callers]

        def have_succeeded() -> bool:
            pairs = zip(self._callers, wanted, strict=True)
            return all(len(caller.took_s) >= least for caller, least in pairs)

        eventually(have_succeeded, f"calls of each kind succeed: {self.errors}")

    def end(self) -> None:
        for caller in self._callers:
            caller.end()


@contextlib.contextmanager
def calls_of_every_kind(stub: EchoServiceStub, kinds: Sequence[Kind] = KINDS) -> Iterator[Calls]:
    """Calls that are made in the block."""
    calls = Calls(stub, kinds)
    try:
        yield calls
    finally:
        calls.end()
