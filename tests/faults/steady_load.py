"""A steady load of calls during a fault; the longest time without a success, and late failures."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import grpc

from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.echoes import Gateway, named

_OUTAGE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
CALL_TIMEOUT_S = 4.0
"""A call whose message or record was lost takes longer; the caller makes another one then."""


class Caller:
    """Makes unary calls, one after the other, in a thread until it is stopped."""

    def __init__(self, gateway: Gateway, *, durable: bool) -> None:
        self._stub = gateway.stub
        self.durable = durable
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.succeeded_at: list[float] = []
        self.failed: list[tuple[float, str]] = []
        """When each failed call began, and its error."""
        self.lost: list[str] = []
        self.errors: list[str] = []

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._call(f"load-{uuid.uuid4()}")

    def _call(self, call_id: str) -> None:
        metadata: Any = named(call_id) if self.durable else None
        began_at = time.monotonic()
        try:
            request = EchoRequest(text=call_id)
            response = self._stub.Unary(request, timeout=CALL_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            self.failed.append((began_at, f"{error.code()}: {error.details()}"))
            if error.code() is grpc.StatusCode.DATA_LOSS:
                self.lost.append(call_id)
            elif error.code() not in _OUTAGE:
                self.errors.append(f"{error.code()}: {error.details()}")
            self._stop.wait(0.1)
            return
        if response.text != call_id:
            self.errors.append(f"{call_id} was answered with {response.text}")
        self.succeeded_at.append(time.monotonic())


class Load:
    """Callers of both kinds of calls."""

    def __init__(self, callers: list[Caller]) -> None:
        self._callers = callers

    @property
    def errors(self) -> list[str]:
        return [error for caller in self._callers for error in caller.errors]

    @property
    def lost(self) -> list[str]:
        """Accepted calls that the ledger has lost."""
        return [call_id for caller in self._callers for call_id in caller.lost]

    def wait_for(self, successes: int, timeout_s: float = 120.0) -> None:
        """Returns when each caller has had that many more successes."""
        wanted = [len(caller.succeeded_at) + successes for caller in self._callers]
        give_up = time.monotonic() + timeout_s
        while any(
            len(caller.succeeded_at) < least
            for caller, least in zip(self._callers, wanted, strict=True)
        ):
            assert time.monotonic() < give_up, f"no successes; errors: {self.errors}"
            time.sleep(0.02)

    def failed_since(self, since: float) -> list[str]:
        """The errors of the calls that began after that time."""
        return [
            error
            for caller in self._callers
            for began_at, error in caller.failed
            if began_at > since
        ]

    def longest_pause_s(self, since: float) -> float:
        """The longest time without a success, of durable or of ephemeral calls, from then on."""
        return max(self._longest_pause_s(since, durable) for durable in (True, False))

    def _longest_pause_s(self, since: float, durable: bool) -> float:
        succeeded_at = sorted(
            at
            for caller in self._callers
            if caller.durable is durable
            for at in caller.succeeded_at
            if at > since
        )
        return max(after - before for before, after in pairwise([since, *succeeded_at]))


@contextlib.contextmanager
def steady_load(gateway: Gateway, callers_of_each_kind: int = 4) -> Iterator[Load]:
    """Durable and ephemeral calls that are made in the block."""
    callers = [
        Caller(gateway, durable=durable)
        for durable in (True, False)
        for _ in range(callers_of_each_kind)
    ]
    for caller in callers:
        caller.thread.start()
    try:
        yield Load(callers)
    finally:
        for caller in callers:
            caller.stop()
        for caller in callers:
            caller.thread.join()
