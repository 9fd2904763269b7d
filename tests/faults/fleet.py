"""A gateway whose workers the test starts and kills."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import grpc
import redis

from forebay_backends.ledger.keys import CallKey
from tests.echo.running import COROUTINES_APP, ECHO_APP, echo_worker
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process


class FleetMonitor:
    """A gateway, its ledger, and workers that a test starts and kills."""

    def __init__(self, env: dict[str, str], channel: grpc.Channel, ledger: redis.Redis) -> None:
        self._env = env
        self.stub = EchoServiceStub(channel)
        self.ledger = ledger
        self._workers = ExitStack()

    def worker(self, pool: str = "prefork", concurrency: int = 1) -> Process:
        """Starts another worker; returns when it is ready. On asyncio, handlers are coroutines."""
        app = COROUTINES_APP if pool == "asyncio" else ECHO_APP
        return self._workers.enter_context(echo_worker(self._env, pool, concurrency, app))

    def record(self, call_id: str) -> dict[str, str]:
        """The call's record."""
        call = CallKey(call_id)
        found: Any = self.ledger.hgetall(f"{call.partition}:call:{call}")
        return {name.decode(): value.decode("latin-1") for name, value in found.items()}

    def is_running(self, call_id: str, attempt: int = 1) -> bool:
        """Whether a worker runs the attempt."""
        record = self.record(call_id)
        return (record.get("state"), record.get("attempt")) == ("RUNNING", str(attempt))

    def lose_all(self) -> None:
        """Ends the workers and empties the ledger, for the next test."""
        self._workers.close()
        self.ledger.flushall()
