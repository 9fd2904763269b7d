"""A gateway whose workers the test starts and kills."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import redis

from forebay_backends.ledger.keys import CallKey
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, process

ROOT = Path(__file__).parents[2]


class FleetMonitor:
    """A gateway, its ledger, and workers that a test starts and kills."""

    def __init__(self, env: dict[str, str], channel: grpc.Channel, ledger: redis.Redis) -> None:
        self._env = env
        self.stub = EchoServiceStub(channel)
        self.ledger = ledger
        self._workers = ExitStack()
        self._started = 0

    def worker(self, pool: str = "prefork", concurrency: int = 1) -> Process:
        """Starts another worker; returns when it is ready."""
        self._started += 1
        child = self._workers.enter_context(
            process(
                *["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"],
                *["--pool", pool, "--concurrency", str(concurrency), "-n", f"w{self._started}@%h"],
                *["--without-mingle", "--without-gossip"],
                env=self._env,
                cwd=ROOT,
            )
        )
        child.wait_for(r" ready\.")
        return child

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
